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
    const std::int64_t count = std::max<std::int64_t>(1, kNumbers / rows.size(1));
    for (std::int64_t first = 0; first < rows.size(0); first += count) {
      const std::int64_t few = std::min(count, rows.size(0) - first);
      write(centred.narrow(0, first, few), rows.narrow(0, first, few), 0);
    }
    return centred;
  }

  /// [local] The same of the features from `first` on, as many as `out` (n x m) has columns.
  void write(torch::Tensor out, const torch::Tensor& rows, std::int64_t first) const {
    const std::int64_t count = out.size(1);
    const auto part = rows.narrow(1, first, count);
    if (rows.scalar_type() == torch::kFloat64) {
      torch::sub_out(out, part, mean_.narrow(0, first, count));
    } else {
      torch::sub_out(out, part, leading_.narrow(0, first, count));
      out.sub_(rest_.narrow(0, first, count));
    }
  }

 private:
  static constexpr std::int64_t kNumbers = 1 << 16;  ///< of a part that stays in the cache

  torch::Tensor mean_;
  torch::Tensor leading_;
  torch::Tensor rest_;
};

}  // namespace eigenscale
