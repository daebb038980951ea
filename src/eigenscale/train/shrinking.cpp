#include "eigenscale/train/shrinking.h"

#include "eigenscale/nn/channel_surgery.h"

namespace eigenscale {
namespace {

/// channels: true where something is not zero.
torch::Tensor live_channels(const SavedModel& model, const ChannelSpace& space) {
  auto live = torch::zeros({space.channels}, torch::kBool);
  for (const auto* layers : {&space.producers, &space.normalizations}) {
    for (const auto& layer : *layers) {
      for (const char* name : {".weight", ".bias"}) {
        const auto found = model.tensors.find(layer.path + name);
        if (found != model.tensors.end()) {
          live = live | (found->second.detach().reshape({space.channels, -1}) != 0).any(1);
        }
      }
    }
  }
  return live;
}

}  // namespace

std::int64_t remove_zero_neurons(SavedModel& model, std::vector<NamedTensors>& moments) {
  std::int64_t gone = 0;
  const auto count = channel_spaces(model.specification).size();
  for (std::size_t i = 0; i < count; ++i) {
    const auto space = channel_spaces(model.specification)[i];
    const auto live = live_channels(model, space);
    const auto kept = live.nonzero().flatten();
    if (space.fixed || space.producers.empty() || kept.size(0) == 0 ||
        kept.size(0) == space.channels) {
      continue;
    }
    gone += space.channels - kept.size(0);
    for (auto& tensors : moments) {
      SavedModel same{model.specification, std::move(tensors)};
      keep_channels(same, space, kept);
      tensors = std::move(same.tensors);
    }
    keep_channels(model, space, kept);
  }
  return gone;
}

}  // namespace eigenscale
