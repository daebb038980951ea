#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/row_stream.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/spectral/whitening_map.h"
#include "eigenscale/spectral/whitening_transform.h"

namespace eigenscale {

enum class WhiteningSolver { kAuto, kExact, kRandomized };

/// Whether `components` of `features` are found without a matrix of D x D. kAuto: from 4,096
/// features on, when the spaces that grow pass by pass are at most a quarter of them.
bool without_covariance(WhiteningSolver solver, std::int64_t components, std::int64_t features);

/// [local] Bytes of the fullest of so many ranks for a fit without the covariance in so many
/// passes, beside pieces of rows.
double randomized_bytes(std::int64_t components, std::int64_t passes, std::int64_t features,
                        std::int64_t ranks);

/// What is told while a transform is found.
struct WhiteningEvents {
  std::function<void(const std::string& phase)> phase;
  std::function<void(const RowPiece& piece)> progress;
};

struct WhiteningFit {
  /// `matrix` is not there for a zca of few components, which has no matrix smaller than D x D.
  WhiteningTransform transform;
  std::unique_ptr<WhiteningMap> map;
  double variance = 0;  ///< trace of the covariance
  double epsilon = 0;   ///< as it was given, or settled by the variance
  /// Mean variance of the directions that no component spans; only without the covariance.
  double rest_variance = 0;
  bool low_rank = false;
  /// Type of the products that the covariance was summed from, and what single precision cost it:
  /// the estimated norm of the error as a share of the largest variance (0 in double).
  torch::ScalarType covariance_products = torch::kFloat64;
  double covariance_rounding = 0;
  torch::ScalarType product = torch::kFloat64;  ///< type of the products of rows and transform
};

/// [collective] Fits by the covariance, D x D in blocks on the grid, which is of the host.
/// `stream` hands out rows of `type` where `placement` says; the map is for such rows. With
/// `options.products` float the covariance is summed from products in single precision, and once
/// more in double where that leaves whitened samples less white than
/// spectral/covariance_precision.h asks for. epsilon below 0 is 1e-6 of the mean variance of a
/// feature.
WhiteningFit fit_exact(const Placement& placement, const RowStream& stream,
                       const torch::Tensor& mean, const std::shared_ptr<const ProcessGrid>& grid,
                       WhiteningOptions options, torch::ScalarType type,
                       const WhiteningEvents& events);

/// [collective] Fits by passes over the rows alone (spectral/krylov_pca.h). zca scales what the k
/// components leave by its mean variance r: W = V diag(l + e)^(-1/2) V^T + (r + e)^(-1/2) (I - V
/// V^T). `stream` hands out rows of `options.products`; `type` is that of the data.
WhiteningFit fit_randomized(const Placement& placement, const RowStream& stream,
                            const torch::Tensor& mean,
                            const std::shared_ptr<const ProcessGrid>& grid,
                            WhiteningOptions options, torch::ScalarType type, std::uint64_t seed,
                            const WhiteningEvents& events);

/// [collective] The map by a dense W, D x width, with products in `type`, for `rows` samples of all
/// ranks that lie as `placement` says.
std::unique_ptr<WhiteningMap> dense_map(const Placement& placement, const DistributedMatrix& matrix,
                                        bool symmetric, std::int64_t rows, torch::ScalarType type);

/// [local] Whether W lies whole on every rank for that: on the host where sums of products may
/// (sums_whole), which take more memory.
bool transforms_whole(const Placement& placement, std::int64_t rows, std::int64_t features);

/// [collective] The map by such a W, from own features' rows of it.
std::unique_ptr<WhiteningMap> whole_map(const Placement& placement, const torch::Tensor& own_matrix,
                                        std::int64_t features, torch::ScalarType type);

/// [collective] The map of a fit of zca without the covariance, with products in `type`, from own
/// features' rows of V (D_p x k), the k variances and r.
std::unique_ptr<WhiteningMap> low_rank_zca(const Placement& placement,
                                           const torch::Tensor& own_vectors, std::int64_t features,
                                           const torch::Tensor& eigenvalues, double rest_variance,
                                           double epsilon, torch::ScalarType type);

}  // namespace eigenscale
