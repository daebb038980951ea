#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

#include "eigenscale/cluster/clustering_run.h"
#include "eigenscale/cluster/self_expression_choice.h"

namespace eigenscale {

/// [local] What must be the same when a clustering goes on from a snapshot: the samples' number and
/// shape ("data") and every option that its result depends on ("options"). `settings` are those for
/// all samples.
nlohmann::json clustering_setting(const ClusteringRunOptions& options,
                                  const ClusteringSettings& settings,
                                  const SelfExpressionChoice& choice, std::int64_t samples,
                                  const std::vector<std::int64_t>& sample_shape);

}  // namespace eigenscale
