#pragma once

#include <torch/torch.h>

#include <functional>
#include <span>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/train/adam.h"
#include "eigenscale/train/gradient_reducer.h"

namespace eigenscale {

/// The step every data-parallel training is made of: local gradients, their sum over all ranks,
/// one optimiser update that is the same everywhere. The loss is a *sum* over samples, so that the
/// summed gradient is that of one rank holding all of them. Borrows the communicator.
class DataParallelStep {
 public:
  DataParallelStep(const Communicator& communicator, const std::vector<torch::Tensor>& parameters,
                   const AdamOptions& options);

  /// [local] Forgets the gradients. Backward passes after it add up.
  void zero_gradients();

  /// [collective] Sums gradients and `scalars` over ranks, then updates the parameters. For
  /// callers that ran their own backward passes since `zero_gradients()`.
  void reduce_and_update(std::span<double> scalars = {});

  /// [collective] The whole step. `accumulate` runs the local forward and backward passes, none
  /// where a rank has no rows, and returns the local loss; the result is the loss over all ranks,
  /// before the update. An exception in `accumulate` is not agreed: it must end the run.
  double step(const std::function<double()>& accumulate);

 private:
  std::vector<torch::Tensor> parameters_;
  GradientReducer reducer_;
  Adam adam_;
};

}  // namespace eigenscale
