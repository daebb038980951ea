#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/linalg/symmetric_eigen.h"

namespace eigenscale {

enum class WhiteningMethod { kZca, kPca };

struct WhiteningOptions {
  WhiteningMethod method = WhiteningMethod::kZca;
  /// Leading components that are kept; 0 for all.
  std::int64_t components = 0;
  /// Added to every eigenvalue, in units of the data squared.
  double epsilon = 0;
  /// Type of the products of rows that the covariance, or the components without it, come from.
  torch::ScalarType products = torch::kFloat64;
  /// Passes over the rows, at most, that find components without the covariance.
  std::int64_t passes = 8;
  /// Also compute residual and orthogonality of the eigenvectors.
  bool verify = false;
};

/// The linear map that whitens centred samples, y = W^T x, from their covariance V diag(l) V^T:
///   zca: W = V diag(l + e)^(-1/2) V^T (D x D),     pca: W = V diag(l + e)^(-1/2) (D x k),
/// with the leading k components where fewer are kept.
struct WhiteningTransform {
  DistributedMatrix matrix;      ///< W, double
  DistributedMatrix components;  ///< V, D x k, double
  torch::Tensor eigenvalues;     ///< l of the kept components, descending, on all ranks
  std::string solver;
  double residual = 0;
  double orthogonality = 0;
};

/// [local] InputError (agreed: eigenvalues are the same on all ranks) when epsilon is 0 and a kept
/// eigenvalue is zero to rounding: no map can whiten a direction in which the data do not vary.
void require_variance(const torch::Tensor& eigenvalues, std::int64_t features,
                      const WhiteningOptions& options);

/// [local] The eigenpairs of a covariance that the transform is made of.
EigenRange wanted_pairs(const WhiteningOptions& options, std::int64_t features);

/// [collective] `covariance` is D x D, double, in any layout, on the host; where `placement` is on
/// a device, the eigenproblem may be solved there. InputError as `require_variance`.
WhiteningTransform whitening_transform(const DistributedMatrix& covariance,
                                       const WhiteningOptions& options,
                                       const std::optional<Placement>& placement = std::nullopt);

/// [collective] What the covariance of whitened samples is meant to be, double, in square blocks on
/// the transform's grid: V diag(l / (l + e)) V^T, D x D, for zca; diag(l / (l + e)), k x k, for
/// pca.
DistributedMatrix whitened_covariance(const WhiteningTransform& transform,
                                      const WhiteningOptions& options);

}  // namespace eigenscale
