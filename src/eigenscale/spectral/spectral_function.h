#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace eigenscale {

/// A function of a symmetric matrix by its eigenvalues, f(V diag(l) V^T) = V diag(f(l)) V^T, with
/// the divided differences F_ij = (f(l_i) - f(l_j)) / (l_i - l_j), F_ii = f'(l_i), that carry its
/// gradient (Daleckii and Krein; Higham, Functions of Matrices, theorem 3.11). They are formed
/// without cancellation, so equal eigenvalues are no special case.
class SpectralFunction {
 public:
  static SpectralFunction inverse_square_root() { return {Kind::kInverseSquareRoot, 0}; }
  static SpectralFunction square_root() { return {Kind::kSquareRoot, 0}; }
  static SpectralFunction power(double exponent) { return {Kind::kPower, exponent}; }
  static SpectralFunction logarithm() { return {Kind::kLogarithm, 0}; }
  /// Onto the eigenvectors of the `count` largest eigenvalues: f is 1 for those and 0 behind, and
  /// only pairs across the cut have a gradient. Its gap is taken as at least 1e-8 of the larger.
  static SpectralFunction projector(std::int64_t count) {
    return {Kind::kProjector, static_cast<double>(count)};
  }

  /// l^(-1/2) for the `count` largest eigenvalues and 0 behind, with the projector's gap at the
  /// cut.
  static SpectralFunction truncated_inverse_square_root(std::int64_t count) {
    return {Kind::kTruncatedInverseSquareRoot, static_cast<double>(count)};
  }

  /// [local] f at n eigenvalues, descending doubles. All but the projector want them positive, and
  /// raise them to `smallest(values)` first.
  torch::Tensor values(const torch::Tensor& eigenvalues) const;

  /// [local] F at the given rows and columns (int64 indices, none for all). |F_ij| <= |f'(smaller
  /// of both)| for the roots and powers below 1.
  torch::Tensor divided_differences(const torch::Tensor& eigenvalues,
                                    const torch::Tensor& rows = {},
                                    const torch::Tensor& columns = {}) const;

  /// [local] As numbers and back, for graphs that outlive the call.
  std::vector<double> code() const { return {static_cast<double>(kind_), parameter_}; }
  static SpectralFunction from_code(const std::vector<double>& code) {
    return {static_cast<Kind>(static_cast<int>(code[0])), code[1]};
  }

  /// [local] What counts as zero beside the largest eigenvalue: n 2^-52 of it.
  static double smallest(const torch::Tensor& eigenvalues);

 private:
  enum class Kind {
    kInverseSquareRoot,
    kSquareRoot,
    kPower,
    kLogarithm,
    kProjector,
    kTruncatedInverseSquareRoot
  };
  SpectralFunction(Kind kind, double parameter) : kind_(kind), parameter_(parameter) {}

  Kind kind_;
  double parameter_;
};

}  // namespace eigenscale
