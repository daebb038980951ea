#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/cluster_sizes.h"

namespace eigenscale {

/// Labelled samples from a union of K random subspaces. Sample i of cluster k is
///
///   subspaces   x = U_k a + sigma e
///   nonlinear   x = tanh(W U_k a) + sigma e
///
/// with U_k an orthonormal basis (D x d) of the range of a Gaussian matrix, a uniform on the unit
/// sphere of R^d, W (D x D) and e (D) standard normal. With `related` R, the first R columns of all
/// K Gaussian matrices are the same: the subspaces meet in R dimensions. Sizes of clusters: see
/// ClusterSizes; samples are in shuffled order. An outlier, label -1, is
///
///   subspaces   x = u + sigma e          u uniform on the unit sphere of R^D, as long as a sample
///   nonlinear   x = tanh(g) + sigma e    g (D) standard normal, as W u would be
struct SyntheticOptions {
  std::string kind = "subspaces";
  std::int64_t samples = 10000;
  std::int64_t ambient_dim = 200;
  std::int64_t subspace_dim = 6;
  std::int64_t clusters = 20;
  double noise = 0;
  double outliers = 0;          ///< share of the samples, 0 <= outliers < 1
  std::string sizes = "equal";  ///< equal or harmonic
  std::int64_t related = 0;     ///< directions that all subspaces share, below subspace_dim
  std::uint64_t seed = 0;
};

/// OptionError when the options contradict each other, or the K maps of D x d numbers, which every
/// rank holds in double precision, would take more than 1 GiB.
void check(const SyntheticOptions& options);

struct SyntheticRows {
  torch::Tensor rows;    ///< float32, n x D
  torch::Tensor labels;  ///< int64, n
};

/// Makes rows of a synthetic data set: a row depends on the options and its index alone, to the
/// bit, so any rank makes any rows. Holds the K maps, nothing that grows with N.
class SyntheticData {
 public:
  /// [local] OptionError, see `check`.
  explicit SyntheticData(const SyntheticOptions& options);

  /// [local] Rows and labels of `range`.
  SyntheticRows make(RowRange range) const;
  /// [local] The bases U_k of the clusters in `range`, float64, range.size() x D x d.
  torch::Tensor bases(RowRange range) const;

 private:
  torch::Tensor labels(RowRange range) const;

  SyntheticOptions options_;
  ClusterSizes sizes_;
  torch::Tensor maps_;  // float64, K x D x d: U_k or W U_k
};

/// [local] Rows and labels of `range`.
SyntheticRows generate_rows(const SyntheticOptions& options, RowRange range);

/// [collective] Writes `directory`/data.npy (float32, N x D), labels.npy (int64, N) and bases.npy
/// (float64, K x D x d: the orthonormal U_k), the same bytes for every number of ranks; the
/// directory is made. Memory does not grow with N. `progress` is told (local) how many of this
/// rank's samples, the range of a RowPartition, are made: 0 first, all of them last.
/// OptionError as `check`; OutputError as write_npy.
void generate(const Communicator& communicator, const SyntheticOptions& options,
              const std::filesystem::path& directory,
              const std::function<void(std::int64_t done)>& progress = {});

}  // namespace eigenscale
