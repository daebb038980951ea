#include "eigenscale/train/objective.h"

#include <algorithm>

#include "eigenscale/comm/device_transfer.h"

namespace eigenscale {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// 1/2 ||x||^2 / features, summed in double; its gradient is x / features, without a graph of
/// squares.
class HalfSquares : public torch::autograd::Function<HalfSquares> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& error,
                               double features) {
    context->save_for_backward({error});
    context->saved_data["features"] = features;
    return error.square().sum(torch::kFloat64) / (2 * features);
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto error = context->get_saved_variables()[0];
    const double factor =
        number_of(gradients[0], "loss").toDouble() / context->saved_data["features"].toDouble();
    return {error * factor, torch::Tensor()};
  }
};

torch::Tensor reconstruction_loss(Autoencoder& autoencoder, const torch::Tensor& rows) {
  // Samples as columns, the layout of the layers.
  const auto columns = rows.flatten(1).t().contiguous();
  const auto error = autoencoder.decode_columns(autoencoder.encode_columns(columns)) - columns;
  return HalfSquares::apply(error, static_cast<double>(autoencoder.specification().features));
}

}  // namespace

ObjectiveTerms Classification::terms(const Batch& batch) const {
  const auto output = network_.forward(batch.samples);
  ObjectiveTerms result;
  result.loss = torch::nn::functional::cross_entropy(
      output, batch.labels,
      torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum));
  if (batch.labels.size(0) > 0) {
    result.wrong = (output.detach().argmax(1) != batch.labels).sum();
  }
  return result;
}

Evaluation Classification::evaluate(const Placement& placement, const LabelledSamples& samples,
                                    double scale) const {
  return eigenscale::evaluate(placement, network_, samples, scale);
}

nlohmann::json Reconstruction::specification() const {
  const auto& specification = autoencoder_.specification();
  return {{"encoder", static_cast<int>(specification.kind)},
          {"features", specification.features},
          {"channels", specification.channels},
          {"kernels", specification.kernels},
          {"image_shape", specification.image_shape},
          {"widths", specification.widths},
          {"linear_latents", specification.linear_latents}};
}

ObjectiveTerms Reconstruction::terms(const Batch& batch) const {
  return {.loss = reconstruction_loss(autoencoder_, batch.samples), .wrong = {}};
}

Evaluation Reconstruction::evaluate(const Placement& placement, const LabelledSamples& samples,
                                    double scale) const {
  constexpr std::int64_t kRowsAtOnce = 512;
  const torch::NoGradGuard no_grad;
  double loss = 0;
  for (std::int64_t begin = 0; begin < samples.rows.size(0); begin += kRowsAtOnce) {
    const auto size = std::min(kRowsAtOnce, samples.rows.size(0) - begin);
    auto rows =
        placement.to_device(samples.rows.narrow(0, begin, size).to(input_type()), "evaluation");
    if (scale != 1) {
      rows = rows * scale;
    }
    loss += number_of(reconstruction_loss(autoencoder_, rows), "evaluation").toDouble();
  }
  return {.loss = all_reduce(placement.control(), loss) / static_cast<double>(samples.count())};
}

}  // namespace eigenscale
