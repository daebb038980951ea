#pragma once

#include <torch/torch.h>

#include <functional>
#include <span>

#include "eigenscale/comm/placement.h"
#include "eigenscale/train/gradient_reducer.h"
#include "eigenscale/train/optimizer.h"

namespace eigenscale {

/// The step every data-parallel training is made of: local gradients, their sum over all ranks,
/// one optimiser update that is the same everywhere. The loss is a *sum* over samples (divided by
/// the number of all ranks' samples if one likes), so that the summed gradient is that of one rank
/// holding all of them, however ragged the batch. Works on anyone's module, which lies where the
/// placement says. Borrows what that borrows.
class DataParallelStep {
 public:
  /// [collective] Parameters and buffers of the module become those of rank 0, but for buffers of
  /// which each rank has a part of its own (nn/local_buffers.h).
  DataParallelStep(const Placement& placement, torch::nn::Module& module,
                   const OptimizerOptions& optimizer, const GradientReducerOptions& reducer = {});

  /// [local] Forgets the gradients. Backward passes after it add up.
  void zero_gradients();

  /// [local] The next backward pass is the last of this step: gradients may leave while it runs.
  void last_backward() { reducer_.arm(); }

  /// [collective] Sums gradients and `scalars` over ranks. For callers that ran their own backward
  /// passes since `zero_gradients()`.
  void reduce(std::span<double> scalars = {}) { reducer_.reduce(scalars); }

  /// [collective] The optimiser's step.
  void update(double learning_rate) { optimizer_.step(learning_rate); }
  void update() { optimizer_.step(); }

  /// [collective] The whole step. `accumulate` runs the local forward and backward passes, none
  /// where a rank has no rows, and returns the local loss; the result is the loss over all ranks,
  /// before the update. An exception in `accumulate` is not agreed: it must end the run.
  double step(const std::function<double()>& accumulate);

  GradientReducer& reducer() { return reducer_; }
  Optimizer& optimizer() { return optimizer_; }

 private:
  GradientReducer reducer_;
  Optimizer optimizer_;
};

}  // namespace eigenscale
