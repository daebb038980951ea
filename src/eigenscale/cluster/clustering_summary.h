#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "eigenscale/cluster/curve_learning.h"
#include "eigenscale/cluster/fine_tuning.h"
#include "eigenscale/cluster/metrics.h"
#include "eigenscale/report/run.h"
#include "eigenscale/train/pretraining.h"

namespace eigenscale {

/// What runs that cluster tell in the same words.

/// [local] accuracy, nmi and ari.
nlohmann::json metrics_json(const ClusteringMetrics& metrics);

/// [local] The summary's metrics by name ("": the result), and a line of the log for each.
void summarize_metrics(Run& run, const std::map<std::string, ClusteringMetrics>& metrics);

/// [local] The summary's choices of pre-training by batches of `batch` samples, if there was any.
void summarize_pretraining(Run& run, const std::optional<PretrainingResult>& result,
                           std::int64_t batch);

/// [local] An epoch of pre-training: its line of metrics.jsonl, progress.
void log_epoch(Run& run, const EpochReport& epoch);

/// [local] The same of a step of at most `most_steps` of fine-tuning.
void log_step(Run& run, const FineTuningStep& step, std::int64_t most_steps);

/// [local] The same of a step towards curves of features.
void log_curves(Run& run, const CurveStep& step);

}  // namespace eigenscale
