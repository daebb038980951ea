#pragma once

#include <torch/torch.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

namespace eigenscale::test {

/// A symmetric matrix with these eigenvalues (double) and random eigenvectors.
inline torch::Tensor with_eigenvalues(const torch::Tensor& values) {
  const std::int64_t n = values.numel();
  const auto vectors = std::get<0>(torch::linalg_qr(torch::randn({n, n}, torch::kFloat64)));
  const auto matrix = (vectors * values).matmul(vectors.t());
  return (matrix + matrix.t()) / 2;
}

/// Spectra of n eigenvalues on which gradients through eigenvectors fail, condition up to 1e6.
inline std::vector<std::pair<std::string, torch::Tensor>> hard_spectra(std::int64_t n) {
  const auto index = torch::arange(n, torch::kFloat64);
  const double last = static_cast<double>(std::max<std::int64_t>(n - 1, 1));
  return {
      {"random", torch::rand({n}, torch::kFloat64) + 0.1},
      {"all equal", torch::full({n}, 0.7, torch::kFloat64)},
      {"pairwise equal", torch::floor(index / 2) + 0.5},
      {"gap 1e-12", 1 + 1e-12 * index},
      {"condition 1e6", torch::pow(10.0, -6 * index / last)},
  };
}

}  // namespace eigenscale::test
