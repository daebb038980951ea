#include "eigenscale/compress/output_difference.h"

namespace eigenscale {

torch::Tensor double_outputs(const Communicator& communicator, const SavedModel& model,
                             const torch::Tensor& samples) {
  const torch::NoGradGuard no_grad;
  return make_network(communicator, model, torch::kFloat64, "the network")
      ->forward(samples.to(torch::kFloat64));
}

OutputDifference output_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return {(a - b).abs().max().item<double>(), a.abs().max().item<double>(),
          (a.argmax(1) != b.argmax(1)).to(torch::kFloat64).mean().item<double>()};
}

}  // namespace eigenscale
