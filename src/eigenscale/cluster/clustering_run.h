#pragma once

#include <array>
#include <string>

#include "eigenscale/cluster/pipeline.h"
#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/report/run.h"

namespace eigenscale {

/// What eigenscale-cluster is asked to do, beside what every run is told.
struct ClusteringRunOptions {
  std::string data;
  std::string labels;  ///< empty: none
  double scale = 1;
  std::string preset;  ///< empty: defaults, which depend on the number of samples
  ClusteringOverrides overrides;
  std::array<int, 2> grid = {0, 0};  ///< {0, 0}: the squarest
  /// Settings and grid in it are filled in by the run.
  ClusteringOptions clustering;
};

/// [collective] Reads, clusters, and writes labels.npy, embedding.npy, metrics.jsonl, report.html
/// and, last, summary.json. Throws the documented errors, agreed on all ranks.
ExitCode run_clustering(const Communicator& world, const RunOptions& run,
                        const ClusteringRunOptions& options);

}  // namespace eigenscale
