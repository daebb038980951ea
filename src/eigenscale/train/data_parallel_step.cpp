#include "eigenscale/train/data_parallel_step.h"

#include "eigenscale/nn/local_buffers.h"

namespace eigenscale {
namespace {

std::vector<torch::Tensor> equal_parameters(const Communicator& communicator,
                                            torch::nn::Module& module) {
  if (communicator.size() > 1) {
    const torch::NoGradGuard no_grad;
    for (const auto& tensors : {module.parameters(), shared_buffers(module)}) {
      for (const auto& tensor : tensors) {
        communicator.broadcast(tensor.detach(), 0);
      }
    }
  }
  return module.parameters();
}

}  // namespace

DataParallelStep::DataParallelStep(const Placement& placement, torch::nn::Module& module,
                                   const OptimizerOptions& optimizer,
                                   const GradientReducerOptions& reducer)
    : reducer_(placement, equal_parameters(placement.data(), module), reducer),
      optimizer_(placement.data(), module.parameters(), optimizer) {}

void DataParallelStep::zero_gradients() {
  for (const auto& parameter : reducer_.parameters()) {
    torch::Tensor(parameter).mutable_grad() = torch::Tensor();
  }
}

double DataParallelStep::step(const std::function<double()>& accumulate) {
  zero_gradients();
  double loss = accumulate();
  reduce({&loss, 1});
  update();
  return loss;
}

}  // namespace eigenscale
