#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

namespace eigenscale {

class Objective;
struct LabelledSamples;
struct TrainerOptions;

/// [local] What must be the same when a run goes on from a checkpoint: network, data, batches and
/// optimiser. Epochs and learning rate may change.
nlohmann::json training_setting(const Objective& objective, const LabelledSamples& training,
                                const TrainerOptions& options);

/// [local] InputError naming the first entry that differs, with both values.
void require_same_setting(const nlohmann::json& found, const nlohmann::json& expected,
                          const std::filesystem::path& path);

}  // namespace eigenscale
