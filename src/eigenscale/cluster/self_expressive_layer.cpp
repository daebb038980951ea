#include "eigenscale/cluster/self_expressive_layer.h"

#include "eigenscale/comm/device_transfer.h"

namespace eigenscale {

double SelfExpressiveLayer::penalty() const {
  return penalty_.defined() ? number_of(penalty_, "loss").toDouble() : 0;
}

void SelfExpressiveLayer::update(const torch::Tensor& coefficients, const torch::Tensor& gradient,
                                 const torch::Tensor& first_moment,
                                 const torch::Tensor& second_moment, std::int64_t step,
                                 const SelfExpressionOptions& options) {
  torch::Tensor penalty;
  if (options.norm == CoefficientNorm::kL2) {
    penalty = torch::sum(coefficients.square(), torch::kFloat64);
    gradient.add_(coefficients, 2 * options.weight_coefficient);
  } else {
    penalty = torch::sum(coefficients.abs(), torch::kFloat64);
    gradient.add_(coefficients.sign(), options.weight_coefficient);
  }
  penalty_ = penalty_.defined() ? penalty_ + penalty : penalty;
  adam_update(coefficients, gradient, first_moment, second_moment, step, options.adam);
}

}  // namespace eigenscale
