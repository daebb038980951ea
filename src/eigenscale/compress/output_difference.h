#pragma once

#include <torch/torch.h>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/nn/saved_model.h"

namespace eigenscale {

struct OutputDifference {
  double largest = 0;  ///< max |a - b| over samples and outputs
  double scale = 0;    ///< max |a|
  /// Share of samples whose largest output is another one.
  double changed = 0;

  double relative() const { return scale > 0 ? largest / scale : largest; }
};

/// [local] What a network answers to `samples` (n x input) in evaluation mode, in double, so that
/// what is left of the difference of equal networks is far below float's rounding.
torch::Tensor double_outputs(const Communicator& communicator, const SavedModel& model,
                             const torch::Tensor& samples);

/// [local] How such outputs differ.
OutputDifference output_difference(const torch::Tensor& a, const torch::Tensor& b);

}  // namespace eigenscale
