#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eigenscale/cluster/pipeline.h"

namespace eigenscale {

/// What the report draws besides the result: curves, and the pictures of samples.
struct ClusteringHistory {
  std::vector<EpochReport> epochs;
  std::vector<FineTuningStep> steps;
};

/// [collective] report.html: key figures, the ablation, loss curves, singular values of the
/// latents, the eigenvalue gap, the affinity in cluster order, the embedding, and sample images per
/// cluster. The text is made on rank 0 and empty elsewhere.
std::string clustering_report(const Communicator& world, const Samples& samples,
                              const ClusteringOptions& options, const ClusteringResult& result,
                              const ClusteringHistory& history, const nlohmann::json& summary);

}  // namespace eigenscale
