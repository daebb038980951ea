#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>

namespace eigenscale {

struct LabelledSamples;
struct TrainingRunOptions;

/// [local] The completed specification of the network that a run trains: a named one for the shape
/// of the samples and with an output for every class up to `largest_label`, or that of a file.
/// InputError where it does not take the samples, or where labels would make more than one class
/// for two samples; OptionError for a scale that is not a number other than 0.
nlohmann::json training_network(const TrainingRunOptions& options, const LabelledSamples& samples,
                                std::int64_t largest_label);

}  // namespace eigenscale
