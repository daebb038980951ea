#include "eigenscale/spectral/matrix_function.h"

#include <vector>

#include "eigenscale/spectral/differentiable_eigen.h"

namespace eigenscale {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

class MatrixFunctionNode : public torch::autograd::Function<MatrixFunctionNode> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& matrices,
                               const SpectralFunction& function) {
    std::vector<torch::Tensor> values;
    std::vector<torch::Tensor> vectors;
    std::vector<torch::Tensor> results;
    for (std::int64_t i = 0; i < matrices.size(0); ++i) {
      const auto pairs = eigen_decomposition(matrices[i]);
      values.push_back(pairs.values);
      vectors.push_back(pairs.vectors);
      results.push_back(apply_function(pairs.values, pairs.vectors, function));
    }
    context->save_for_backward({torch::stack(values), torch::stack(vectors)});
    context->saved_data["function"] = function.code();
    return torch::stack(results).to(matrices.scalar_type());
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto function =
        SpectralFunction::from_code(context->saved_data["function"].toDoubleVector());
    std::vector<torch::Tensor> results;
    for (std::int64_t i = 0; i < gradients[0].size(0); ++i) {
      results.push_back(function_gradient(saved[0][i], saved[1][i], function,
                                          gradients[0][i].to(torch::kFloat64)));
    }
    return {torch::stack(results).to(gradients[0].scalar_type()), torch::Tensor()};
  }
};

}  // namespace

torch::Tensor apply_function(const torch::Tensor& values, const torch::Tensor& vectors,
                             const SpectralFunction& function) {
  return (vectors * function.values(values)).matmul(vectors.t());
}

torch::Tensor function_gradient(const torch::Tensor& values, const torch::Tensor& vectors,
                                const SpectralFunction& function, const torch::Tensor& gradient) {
  const auto core = vectors.t().matmul((gradient + gradient.t()) / 2).matmul(vectors);
  const auto result =
      vectors.matmul(core * function.divided_differences(values)).matmul(vectors.t());
  return (result + result.t()) / 2;
}

torch::Tensor matrix_function(const torch::Tensor& matrix, const SpectralFunction& function) {
  if (matrix.dim() == 2) {
    return MatrixFunctionNode::apply(matrix.unsqueeze(0), function).squeeze(0);
  }
  return MatrixFunctionNode::apply(matrix, function);
}

}  // namespace eigenscale
