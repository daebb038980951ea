#pragma once

#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/spectral/spectral_function.h"

namespace eigenscale {

/// f(S) of a symmetric distributed matrix and its gradient, which are products of distributed
/// matrices: no rank holds n x n. Double.
class DistributedMatrixFunction {
 public:
  /// [collective] Decomposes S (n x n, double, any layout) and forms f(S). Throws, on all ranks,
  /// what symmetric_eigen throws.
  DistributedMatrixFunction(const DistributedMatrix& matrix, const SpectralFunction& function);

  /// f(S), in square blocks.
  const DistributedMatrix& value() const { return value_; }
  /// Eigenvalues, descending, on all ranks.
  const torch::Tensor& eigenvalues() const { return eigenvalues_; }
  /// Eigenvectors as columns in the order of the values, in square blocks.
  const DistributedMatrix& eigenvectors() const { return eigenvectors_; }

  /// [collective] dL/dS = V (F o (V^T sym(dL/df) V)) V^T, in square blocks, from dL/df(S) in any
  /// layout.
  DistributedMatrix backward(const DistributedMatrix& gradient) const;

 private:
  SpectralFunction function_;
  torch::Tensor eigenvalues_;
  DistributedMatrix eigenvectors_;
  DistributedMatrix value_;
};

}  // namespace eigenscale
