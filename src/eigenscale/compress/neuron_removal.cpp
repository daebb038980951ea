#include "eigenscale/compress/neuron_removal.h"

#include <cmath>

#include "eigenscale/nn/channel_graph.h"
#include "eigenscale/nn/channel_surgery.h"
#include "eigenscale/nn/constant_channels.h"

namespace eigenscale {
namespace {

/// One layer that reads the channels of a space.
struct Reader {
  const LayerPlace& place;
  torch::Tensor weight;  ///< outputs x channels x values of each
  torch::Tensor values;  ///< channels x inputs of each: constants, NaN where there are none
  torch::Tensor unread;  ///< channels: all their weights are zero
};

Reader reader(const SavedModel& model, const LayerPlace& place, std::int64_t channels,
              const std::map<std::string, torch::Tensor>& constants) {
  const auto weight = model.tensors.at(place.path + ".weight").detach().to(torch::kFloat64);
  Reader result{place,
                weight.reshape({weight.size(0), channels, -1}),
                constants.at(place.path).view({channels, place.per_channel}),
                {}};
  result.unread = (result.weight == 0).all(2).all(0);
  return result;
}

torch::Tensor may_go(const SavedModel& model, const Reader& reader) {
  auto constant = reader.values.isnan().logical_not().all(1);
  if (model.specification[reader.place.where].value("padding", 0) > 0) {
    constant = constant & (reader.values == 0).all(1);
  }
  return constant | reader.unread;
}

/// What the channels `gone` contribute to the outputs of a layer becomes part of its bias.
void fold(SavedModel& model, const Reader& reader, const torch::Tensor& gone) {
  const auto counted = gone & reader.unread.logical_not();
  const auto values = torch::where(counted.unsqueeze(1), reader.values,
                                   torch::zeros_like(reader.values));  // no NaN gets through
  const auto per_value =
      reader.weight.view({reader.weight.size(0), reader.values.size(0), reader.values.size(1), -1})
          .sum(3);
  const auto sum = torch::mv(per_value.flatten(1), values.flatten());
  if ((sum == 0).all().item<bool>()) {
    return;
  }
  const auto name = reader.place.path + ".bias";
  auto& layer = model.specification[reader.place.where];
  const auto type = model.tensors.at(reader.place.path + ".weight").scalar_type();
  const auto before = layer["bias"].get<bool>()
                          ? model.tensors.at(name).detach().to(torch::kFloat64)
                          : torch::zeros_like(sum);
  model.tensors[name] = (before + sum).to(type);
  layer["bias"] = true;
}

bool removable(const ChannelSpace& space) {
  return !space.fixed && !space.producers.empty() && !space.consumers.empty();
}

void note(std::vector<RemovedNeurons>& removals, const ChannelSpace& space, std::int64_t after) {
  for (auto& removal : removals) {
    if (removal.layer == space.name()) {
      removal.after = after;
      return;
    }
  }
  removals.push_back({space.name(), space.channels, after});
}

/// True when the space lost a channel. Taking out channels makes no other one constant, nor a
/// constant another: `constants` stay those of the network but for the channels that went.
bool remove_from(SavedModel& model, const ChannelSpace& space,
                 std::map<std::string, torch::Tensor>& constants,
                 std::vector<RemovedNeurons>& removals) {
  std::vector<Reader> readers;
  auto gone = torch::ones({space.channels}, torch::kBool);
  for (const auto& place : space.consumers) {
    readers.push_back(reader(model, place, space.channels, constants));
    gone = gone & may_go(model, readers.back());
  }
  if (gone.all().item<bool>()) {
    gone[0] = false;
  }
  note(removals, space, space.channels - gone.sum().item<std::int64_t>());
  if (!gone.any().item<bool>()) {
    return false;
  }
  for (const auto& one : readers) {
    fold(model, one, gone);
  }
  const auto kept = gone.logical_not().nonzero().flatten();
  for (const auto& place : space.consumers) {
    auto& values = constants.at(place.path);
    values = values.index_select(0, values_of_channels(kept, place.per_channel));
  }
  keep_channels(model, space, kept);
  return true;
}

}  // namespace

std::vector<RemovedNeurons> remove_dead_neurons(SavedModel& model) {
  std::vector<RemovedNeurons> removals;
  auto constants = constant_inputs(model.specification, model.tensors);
  // What goes may leave others without readers: until nothing changes.
  bool changed = true;
  while (changed) {
    changed = false;
    const auto count = channel_spaces(model.specification).size();
    for (std::size_t i = 0; i < count; ++i) {
      const auto space = channel_spaces(model.specification)[i];
      changed = (removable(space) && remove_from(model, space, constants, removals)) || changed;
    }
  }
  return removals;
}

std::vector<RemovedNeurons> remove_smallest_neurons(SavedModel& model, double kept) {
  std::vector<RemovedNeurons> removals;
  for (const auto& space : channel_spaces(model.specification)) {
    if (!removable(space)) {
      continue;
    }
    auto norms = torch::zeros({space.channels}, torch::kFloat64);
    for (const auto& producer : space.producers) {
      const auto weight = model.tensors.at(producer.path + ".weight").detach();
      norms += weight.to(torch::kFloat64).flatten(1).square().sum(1);
    }
    // 0.07 x 100 is 7.000000000000001 in double.
    constexpr double kRounding = 1e-12;
    const auto count = static_cast<std::int64_t>(
        std::ceil(kept * static_cast<double>(space.channels) * (1 - kRounding)));
    const auto largest = std::get<1>(norms.topk(std::max<std::int64_t>(count, 1)));
    note(removals, space, largest.size(0));
    keep_channels(model, space, std::get<0>(largest.sort()));
  }
  return removals;
}

}  // namespace eigenscale
