#pragma once

#include <torch/torch.h>

#include "eigenscale/nn/channel_graph.h"
#include "eigenscale/nn/saved_model.h"

namespace eigenscale {

/// [local] The indices along `channels` of the values that belong to them, `per_channel` each.
torch::Tensor values_of_channels(const torch::Tensor& channels, std::int64_t per_channel);

/// [local] Keeps the channels `kept` (ascending, int64, at least one) of a space and takes the
/// others out of all its layers: rows of producers, entries of normalisations, columns of
/// consumers. The specification stays completed.
void keep_channels(SavedModel& model, const ChannelSpace& space, const torch::Tensor& kept);

}  // namespace eigenscale
