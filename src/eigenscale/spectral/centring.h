#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <cstdint>

namespace eigenscale {

/// Takes a mean away from rows in the type of the rows. For float rows it is kept in two floats:
/// one would leave a part of itself (5e-4 at a mean of 1e4) in every row, which is a direction of
/// its own in the covariance.
class Centring {
 public:
  /// `mean` is D doubles.
  explicit Centring(const torch::Tensor& mean)
      : mean_(mean),
        leading_(mean.to(torch::kFloat32)),
        rest_((mean - leading_.to(torch::kFloat64)).to(torch::kFloat32)) {}

  /// [local] n x D of float or double, new memory of the same type.
  torch::Tensor operator()(const torch::Tensor& rows) const {
    if (rows.scalar_type() == torch::kFloat64) {
      return rows - mean_;
    }
    auto centred = torch::empty(rows.sizes(), rows.options());
    write(centred, rows, 0);
    return centred;
  }

  /// [local] The same of the features from `first` on, as many as `out` (n x m) has columns. The
  /// numbers of a row stand behind each other.
  void write(torch::Tensor out, const torch::Tensor& rows, std::int64_t first) const {
    const std::int64_t count = out.size(1);
    const auto part = rows.narrow(1, first, count);
    if (rows.scalar_type() == torch::kFloat64) {
      torch::sub_out(out, part, mean_.narrow(0, first, count));
    } else if (rows.is_cpu()) {
      write_floats(out, part, first);
    } else {
      torch::sub_out(out, part, leading_.narrow(0, first, count));
      out.sub_(rest_.narrow(0, first, count));
    }
  }

 private:
  /// Both subtractions in one pass over the memory.
  void write_floats(const torch::Tensor& out, const torch::Tensor& rows, std::int64_t first) const {
    const std::int64_t count = out.size(1);
    const auto* const leading = leading_.data_ptr<float>() + first;
    const auto* const rest = rest_.data_ptr<float>() + first;
    const auto* const from_first = rows.data_ptr<float>();
    auto* const to_first = out.data_ptr<float>();
    const std::int64_t grain = 65536 / std::max<std::int64_t>(count, 1) + 1;
    at::parallel_for(0, out.size(0), grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) {
        const float* from = from_first + row * rows.stride(0);
        float* to = to_first + row * out.stride(0);
        for (std::int64_t i = 0; i < count; ++i) {
          to[i] = (from[i] - leading[i]) - rest[i];
        }
      }
    });
  }

  torch::Tensor mean_;
  torch::Tensor leading_;
  torch::Tensor rest_;
};

}  // namespace eigenscale
