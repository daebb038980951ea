#include "eigenscale/spectral/centring.h"

#include <algorithm>

namespace eigenscale {
namespace {

/// out = (rows - leading) - rest in one pass over the memory, where libtorch makes two.
void subtract(const torch::Tensor& out, const torch::Tensor& rows, const torch::Tensor& leading,
              const torch::Tensor& rest) {
  const std::int64_t count = out.size(1);
  const auto* const first = leading.data_ptr<float>();
  const auto* const second = rest.data_ptr<float>();
  for (std::int64_t row = 0; row < out.size(0); ++row) {
    const auto* from = rows.data_ptr<float>() + row * rows.stride(0);
    auto* to = out.data_ptr<float>() + row * out.stride(0);
    for (std::int64_t i = 0; i < count; ++i) {
      to[i] = (from[i] - first[i]) - second[i];
    }
  }
}

}  // namespace

Centring::Centring(const torch::Tensor& mean)
    : mean_(mean),
      leading_(mean.to(torch::kFloat32)),
      rest_((mean - leading_.to(torch::kFloat64)).to(torch::kFloat32)) {}

torch::Tensor Centring::operator()(const torch::Tensor& rows) const {
  if (rows.scalar_type() == torch::kFloat64) {
    return rows - mean_;
  }
  constexpr std::int64_t kCachedNumbers = 1 << 16;
  auto centred = torch::empty(rows.sizes(), rows.options());
  const std::int64_t count =
      rows.is_cpu() ? std::max<std::int64_t>(1, kCachedNumbers / rows.size(1)) : rows.size(0);
  for (std::int64_t first = 0; first < rows.size(0); first += count) {
    const std::int64_t few = std::min(count, rows.size(0) - first);
    write(centred.narrow(0, first, few), rows.narrow(0, first, few), 0);
  }
  return centred;
}

void Centring::write(torch::Tensor out, const torch::Tensor& rows, std::int64_t first) const {
  const std::int64_t count = out.size(1);
  const auto part = rows.narrow(1, first, count);
  if (rows.scalar_type() == torch::kFloat64) {
    torch::sub_out(out, part, mean_.narrow(0, first, count));
    return;
  }
  const auto leading = leading_.narrow(0, first, count);
  const auto rest = rest_.narrow(0, first, count);
  // The loop has one thread; several share libtorch's subtractions.
  if (rows.is_cpu() && torch::get_num_threads() == 1 && part.stride(1) == 1 && out.stride(1) == 1) {
    subtract(out, part, leading, rest);
  } else {
    torch::sub_out(out, part, leading);
    out.sub_(rest);
  }
}

}  // namespace eigenscale
