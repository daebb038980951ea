#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/comm/placement.h"
#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

/// Measures what single precision costs a covariance, beside its sum: a few random directions are
/// multiplied by the covariance in double, row by row. Of a random symmetric error E the norm is
/// about 2 |E g| / |g| (Wigner's semicircle), which is what is estimated.
class CovarianceProbe {
 public:
  /// Of rows that lie as `placement` says.
  CovarianceProbe(const Placement& placement, std::int64_t features);

  /// [local] This rank's centred rows, m x D of any floating type.
  void add(const torch::Tensor& centred);
  /// [collective] The estimate of ||E|| for `covariance` (D x D, both triangles), the sum of all
  /// rows' products divided by `samples`.
  double error(const DistributedMatrix& covariance, double samples);

 private:
  Placement placement_;
  torch::Tensor signs_;       ///< D x count, random, on the host
  torch::Tensor directions_;  ///< the same where the rows are
  torch::Tensor images_;      ///< the rows' products with them, not yet divided
};

/// [collective] Whether an error of norm `error` in the covariance S of `samples` leaves whitened
/// samples white: whether error / (l + epsilon) is at most 1e-4 for every eigenvalue l of S, found
/// from `epsilon`, the least variance of a feature, or, when these do not tell, a Cholesky factor
/// of S less what would be too small.
bool is_precise_enough(const DistributedMatrix& covariance, double error, double epsilon,
                       std::int64_t samples);

}  // namespace eigenscale
