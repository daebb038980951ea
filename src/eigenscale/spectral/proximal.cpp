#include "eigenscale/spectral/proximal.h"

#include <algorithm>

#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {

torch::Tensor soft_threshold(const torch::Tensor& values, double threshold) {
  return values.sign() * (values.abs() - threshold).clamp_min(0);
}

torch::Tensor group_threshold(const torch::Tensor& rows, double threshold) {
  const auto norms = rows.norm(2, {1}, /*keepdim=*/true);
  // A zero row would divide by zero; it stays zero.
  const auto factors = (1 - threshold / norms).clamp_min(0);
  return torch::where(norms <= threshold, torch::zeros_like(rows), rows * factors);
}

torch::Tensor sparse_group_threshold(const torch::Tensor& rows, double group, double elements) {
  return group_threshold(elements > 0 ? soft_threshold(rows, elements) : rows, group);
}

LowRankMatrix singular_value_threshold(const torch::Tensor& matrix, double threshold) {
  const auto values = matrix.to(torch::kFloat64);
  if (!number_of(values.isfinite().all(), "penalties").toBool()) {
    throw NumericalError(
        "a matrix holds a value that is not finite: it has no singular value decomposition");
  }
  const auto [left, singular, right] = torch::linalg_svd(values, /*full_matrices=*/false);
  const auto rank = number_of((singular > threshold).sum(), "penalties").toLong();
  if (rank == 0) {
    return {torch::zeros_like(matrix), 0};
  }
  const auto shrunk = singular.narrow(0, 0, rank) - threshold;
  const auto result =
      torch::mm(left.narrow(1, 0, rank) * shrunk.unsqueeze(0), right.narrow(0, 0, rank));
  return {result.to(matrix.scalar_type()), rank};
}

ProximalSum proximal_of_sum(const torch::Tensor& start, const ProximalOperator& f,
                            const ProximalOperator& g, double tolerance, std::int64_t most) {
  const double largest =
      start.numel() > 0 ? number_of(start.abs().max(), "penalties").toDouble() : 0;
  ProximalSum result{start, torch::zeros_like(start), 0, 0};
  auto of_g = torch::zeros_like(start);
  // start = point + of_f + of_g throughout, with of_g a subgradient of g at `other` and of_f one of
  // f at the point: when the two agree, zero lies in the subdifferential of the sum.
  while (result.iterations < most) {
    ++result.iterations;
    const auto other = g(result.point + of_g);
    of_g = result.point + of_g - other;
    result.point = f(other + result.of_f);
    result.of_f = other + result.of_f - result.point;
    result.gap = start.numel() > 0
                     ? number_of((result.point - other).abs().max(), "penalties").toDouble()
                     : 0;
    if (result.gap <= tolerance * largest) {
      break;
    }
  }
  return result;
}

}  // namespace eigenscale
