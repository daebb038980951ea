#pragma once

#include <torch/torch.h>

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
    return rows.scalar_type() == torch::kFloat64 ? rows - mean_ : (rows - leading_).sub_(rest_);
  }

 private:
  torch::Tensor mean_;
  torch::Tensor leading_;
  torch::Tensor rest_;
};

}  // namespace eigenscale
