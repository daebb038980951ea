#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eigenscale/nn/saved_model.h"

namespace eigenscale {

struct RemovedNeurons {
  std::string layer;
  std::int64_t before = 0;
  std::int64_t after = 0;
};

/// [local] Takes out every neuron that the network's output does not depend on: all that read it
/// see a constant, which moves into their biases, or do not read it. In evaluation mode the outputs
/// stay the same but for rounding. A constant other than zero stays where a convolution reads it
/// with zero padding, since beyond the border it is not there. One neuron of each layer stays.
/// Residual additions: a channel goes when it may go everywhere.
std::vector<RemovedNeurons> remove_dead_neurons(SavedModel& model);

/// [local] Keeps the share `kept` (rounded up) of each layer's neurons, those with the largest
/// Euclidean norm of incoming weights; what magnitude pruning does, for comparison.
std::vector<RemovedNeurons> remove_smallest_neurons(SavedModel& model, double kept);

}  // namespace eigenscale
