#include "eigenscale/spectral/differentiable_eigen.h"

#include <stdexcept>

#include "eigenscale/linalg/symmetric_eigen.h"

namespace eigenscale {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

class EigenFunction : public torch::autograd::Function<EigenFunction> {
 public:
  static tensor_list forward(AutogradContext* context, const torch::Tensor& matrix,
                             std::int64_t rule, std::int64_t terms) {
    const auto pairs = eigen_decomposition(matrix);
    context->save_for_backward({pairs.values, pairs.vectors});
    context->saved_data["rule"] = rule;
    context->saved_data["terms"] = terms;
    return {pairs.values.to(matrix.scalar_type()), pairs.vectors.to(matrix.scalar_type())};
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto& values = saved[0];
    const auto& vectors = saved[1];
    const GradientRuleOptions options = {
        static_cast<GradientRule>(context->saved_data["rule"].toInt()),
        context->saved_data["terms"].toInt()};
    auto core = torch::zeros_like(vectors);
    if (gradients[1].defined()) {
      core = gradient_factors(values, options).t() *
             vectors.t().matmul(gradients[1].to(torch::kFloat64));
    }
    if (gradients[0].defined()) {
      core.diagonal().add_(gradients[0].to(torch::kFloat64));
    }
    const auto result = vectors.matmul(core).matmul(vectors.t());
    const auto type = (gradients[0].defined() ? gradients[0] : gradients[1]).scalar_type();
    return {((result + result.t()) / 2).to(type), torch::Tensor(), torch::Tensor()};
  }
};

}  // namespace

Eigenpairs eigen_decomposition(const torch::Tensor& matrix) {
  const torch::NoGradGuard no_grad;
  if (matrix.dim() != 2 || matrix.size(0) != matrix.size(1) || matrix.size(0) == 0) {
    throw std::invalid_argument("an eigenproblem needs a square matrix with entries");
  }
  auto result = symmetric_eigen(matrix.detach().to(torch::kFloat64));
  return {result.values, result.vectors};
}

Eigenpairs differentiable_eigen(const torch::Tensor& matrix, const GradientRuleOptions& options) {
  const auto pairs =
      EigenFunction::apply(matrix, static_cast<std::int64_t>(options.rule), options.terms);
  return {pairs[0], pairs[1]};
}

}  // namespace eigenscale
