#pragma once

#include "eigenscale/cluster/clustering_run.h"
#include "eigenscale/cluster/self_expression_choice.h"

namespace eigenscale {

/// [collective] A run whose rows stream: landmarks are clustered, the subspace model carries their
/// labels to all rows. Writes labels.npy, residuals.npy, embedding.npy, subspaces.safetensors,
/// metrics.jsonl, report.html and, last, summary.json. Errors as run_clustering.
ExitCode run_landmark_clustering(const Communicator& world, const RunOptions& run,
                                 const ClusteringRunOptions& options,
                                 const SelfExpressionChoice& choice);

}  // namespace eigenscale
