#include "eigenscale/cluster/self_expressive_layer.h"

namespace eigenscale {

double SelfExpressiveLayer::update(const torch::Tensor& coefficients, const torch::Tensor& gradient,
                                   const torch::Tensor& first_moment,
                                   const torch::Tensor& second_moment, std::int64_t step,
                                   const SelfExpressionOptions& options) {
  double penalty = 0;
  if (options.norm == CoefficientNorm::kL2) {
    penalty = torch::sum(coefficients.square(), torch::kFloat64).item<double>();
    gradient.add_(coefficients, 2 * options.weight_coefficient);
  } else {
    penalty = torch::sum(coefficients.abs(), torch::kFloat64).item<double>();
    gradient.add_(coefficients.sign(), options.weight_coefficient);
  }
  adam_update(coefficients, gradient, first_moment, second_moment, step, options.adam);
  return penalty;
}

}  // namespace eigenscale
