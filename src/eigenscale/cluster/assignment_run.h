#pragma once

#include "eigenscale/cluster/clustering_run.h"

namespace eigenscale {

/// [collective] Labels the rows of options.data by the subspace model of the finished run
/// options.assign. Writes labels.npy, residuals.npy, embedding.npy, report.html and summary.json.
/// InputError (agreed) when that run has no model or its rows have another width.
ExitCode run_assignment(const Communicator& world, const RunOptions& run,
                        const ClusteringRunOptions& options);

}  // namespace eigenscale
