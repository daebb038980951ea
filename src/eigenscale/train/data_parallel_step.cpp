#include "eigenscale/train/data_parallel_step.h"

namespace eigenscale {

DataParallelStep::DataParallelStep(const Communicator& communicator,
                                   const std::vector<torch::Tensor>& parameters,
                                   const AdamOptions& options)
    : parameters_(parameters), reducer_(communicator, parameters), adam_(parameters, options) {}

void DataParallelStep::zero_gradients() {
  for (auto& parameter : parameters_) {
    parameter.mutable_grad() = torch::Tensor();
  }
}

void DataParallelStep::reduce_and_update(std::span<double> scalars) {
  reducer_.reduce(scalars);
  adam_.step();
}

double DataParallelStep::step(const std::function<double()>& accumulate) {
  zero_gradients();
  double loss = accumulate();
  reduce_and_update({&loss, 1});
  return loss;
}

}  // namespace eigenscale
