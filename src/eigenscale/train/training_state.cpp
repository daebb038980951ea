#include "eigenscale/train/training_state.h"

#include "eigenscale/core/errors.h"
#include "eigenscale/train/trainer.h"

namespace eigenscale {
namespace {

std::string shortened(const nlohmann::json& value) {
  constexpr std::size_t kLongest = 160;
  const std::string text = value.dump();
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
}

/// The first place where two values differ, as a path, with both.
std::string first_difference(const nlohmann::json& found, const nlohmann::json& expected) {
  const auto patch = nlohmann::json::diff(found, expected);
  const nlohmann::json::json_pointer place(patch.at(0).at("path").get<std::string>());
  const auto value = [&](const nlohmann::json& json) {
    return json.contains(place) ? shortened(json.at(place)) : std::string("nothing");
  };
  return place.to_string().substr(1) + " " + value(found) + ", but now it is " + value(expected);
}

}  // namespace

nlohmann::json training_setting(const Objective& objective, const LabelledSamples& training,
                                const TrainerOptions& options) {
  const auto& optimizer = options.optimizer;
  const auto& proximal = options.proximal;
  const bool adam = optimizer.kind == OptimizerOptions::Kind::kAdam;
  const auto& initial = options.initial_specification;
  return {{"network", initial.is_null() ? objective.specification() : initial},
          {"precision", precision_name(objective.precision())},
          {"samples", training.count()},
          {"sample_shape", training.shape},
          {"batch-size", options.batches.batch_size},
          {"micro-batch", options.micro_batch},
          {"seed", options.batches.seed},
          {"scale", options.batches.scale},
          {"crop", options.batches.augmentation.crop},
          {"flip", options.batches.augmentation.flip},
          {"optimizer", adam ? "adam" : "sgd"},
          {"momentum", adam ? optimizer.adam.beta1 : optimizer.momentum},
          {"nesterov", !adam && optimizer.nesterov},
          {"gradient-type",
           options.reducer.wire_type ? precision_name(*options.reducer.wire_type) : "own"},
          {"group-sparsity", proximal.group_sparsity},
          {"group-sparsity-first", proximal.group_sparsity_first.value_or(proximal.group_sparsity)},
          {"layer-sparsity", proximal.group_sparsity_of},
          {"sparse-mix", proximal.sparse_mix},
          {"nuclear-norm", proximal.nuclear_norm},
          {"prox-exact", proximal.exact},
          {"prox-every", proximal.every},
          {"shrink-every", options.shrink_every}};
}

void require_same_setting(const nlohmann::json& found, const nlohmann::json& expected,
                          const std::filesystem::path& path) {
  if (found != expected) {
    throw InputError("the checkpoint '" + path.string() + "' is of another run: it has " +
                     first_difference(found, expected) +
                     "; give the options of that run or another --output");
  }
}

}  // namespace eigenscale
