#pragma once

#include <vector>

#include "eigenscale/nn/saved_model.h"
#include "eigenscale/report/tree_timer.h"

namespace eigenscale {

/// What training goes on with in a smaller network: its weights, the optimiser's moments as tensors
/// of the same names and shapes, where training stands, and the time it took.
struct ShrunkTraining {
  SavedModel model;
  std::vector<NamedTensors> moments;
  nlohmann::json state;
  TreeTimer timer;
  std::int64_t removed = 0;  ///< neurons that went
};

/// [local] Takes out the neurons of which all is zero (weights, bias, and scale and shift behind
/// them), from the model and alike from the moments: the network computes what it did, in training
/// too. One neuron of each layer stays. Returns the number of neurons that went.
std::int64_t remove_zero_neurons(SavedModel& model, std::vector<NamedTensors>& moments);

}  // namespace eigenscale
