#include "eigenscale/linalg/widened_sum.h"

namespace eigenscale {

void add_widened(const torch::Tensor& sum, const torch::Tensor& addend) {
  if (addend.scalar_type() == torch::kFloat64) {
    sum.add_(addend);
    return;
  }
  auto* const to_first = sum.data_ptr<double>();
  const auto* const from_first = addend.data_ptr<float>();
  const std::int64_t to_stride = sum.stride(0);
  const std::int64_t from_stride = addend.stride(0);
  const std::int64_t width = addend.size(1);
  for (std::int64_t row = 0; row < addend.size(0); ++row) {
    double* to = to_first + row * to_stride;
    const float* from = from_first + row * from_stride;
    for (std::int64_t i = 0; i < width; ++i) {
      to[i] += static_cast<double>(from[i]);
    }
  }
}

}  // namespace eigenscale
