#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace eigenscale {

/// Takes a mean away from rows in the type of the rows. For float rows it is kept in two floats:
/// one would leave a part of itself (5e-4 at a mean of 1e4) in every row, which is a direction of
/// its own in the covariance.
class Centring {
 public:
  /// `mean` is D doubles.
  explicit Centring(const torch::Tensor& mean);

  /// [local] n x D of float or double, new memory of the same type.
  torch::Tensor operator()(const torch::Tensor& rows) const;

  /// [local] The same of the features from `first` on, as many as `out` (n x m) has columns.
  void write(torch::Tensor out, const torch::Tensor& rows, std::int64_t first) const;

 private:
  torch::Tensor mean_;
  torch::Tensor leading_;
  torch::Tensor rest_;
};

}  // namespace eigenscale
