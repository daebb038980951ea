#include "eigenscale/nn/channel_surgery.h"

#include "eigenscale/nn/network_specification.h"

namespace eigenscale {

torch::Tensor values_of_channels(const torch::Tensor& channels, std::int64_t per_channel) {
  return (channels.unsqueeze(1) * per_channel + torch::arange(per_channel).unsqueeze(0)).flatten();
}

void keep_channels(SavedModel& model, const ChannelSpace& space, const torch::Tensor& kept) {
  const auto select = [&](const std::string& name, std::int64_t dimension,
                          const torch::Tensor& indices) {
    const auto found = model.tensors.find(name);
    if (found != model.tensors.end()) {
      found->second = found->second.detach().index_select(dimension, indices);
    }
  };
  for (const auto& producer : space.producers) {
    select(producer.path + ".weight", 0, kept);
    select(producer.path + ".bias", 0, kept);
    model.specification[producer.where]["outputs"] = kept.size(0);
  }
  for (const auto& normalization : space.normalizations) {
    const auto values = values_of_channels(kept, normalization.per_channel);
    for (const char* name : {".weight", ".bias", ".running_mean", ".running_variance"}) {
      select(normalization.path + name, 0, values);
    }
    model.specification[normalization.where]["inputs"] = values.size(0);
  }
  for (const auto& consumer : space.consumers) {
    const auto values = values_of_channels(kept, consumer.per_channel);
    select(consumer.path + ".weight", 1, values);
    model.specification[consumer.where]["inputs"] = values.size(0);
  }
  model.specification.erase("outputs");
  model.specification.erase("multiply_adds");
  model.specification = complete_specification(model.specification, "the smaller network");
}

}  // namespace eigenscale
