#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "eigenscale/cluster/clustering_snapshots.h"
#include "eigenscale/cluster/pipeline.h"
#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/report/run.h"

namespace eigenscale {

/// What eigenscale-cluster is asked to do, beside what every run is told.
struct ClusteringRunOptions {
  std::vector<std::string> data;    ///< rows of several files stand behind each other
  std::vector<std::string> labels;  ///< empty: none
  double scale = 1;
  std::string preset;  ///< empty: defaults, which depend on the number of samples
  ClusteringOverrides overrides;
  std::array<int, 2> grid = {0, 0};      ///< {0, 0}: the squarest
  std::string self_expression = "auto";  ///< auto, full, closed-form or landmark
  std::string refine = "auto";           ///< auto, subspaces or none
  std::int64_t landmarks = 0;            ///< 0: by the number of samples
  std::int64_t landmark_draws = 3;
  std::int64_t ablation_samples = 100000;  ///< where the model labels the samples
  bool affine = false;                     ///< subspaces need not contain the origin
  /// Share of the whitening of features, 0 to 1; by default kFeatureWhitening of what an encoder or
  /// a reduction makes where there are landmarks enough, none of the file's own rows.
  std::optional<double> whiten_features;
  SnapshotOptions snapshots;
  std::string assign;  ///< directory of the run whose model labels the data; empty: cluster
  /// Settings and grid in it are filled in by the run.
  ClusteringOptions clustering;

  /// For messages.
  std::string data_name() const {
    return data.size() == 1 ? data.front()
                            : data.front() + " and " + std::to_string(data.size() - 1) + " more";
  }
  /// All that is read, for the claim of the run directory.
  std::vector<std::string> inputs(const std::string& more) const {
    auto all = data;
    all.insert(all.end(), labels.begin(), labels.end());
    all.push_back(more);
    return all;
  }
};

/// [collective] Reads, clusters (or labels by an earlier run's model), and writes labels.npy,
/// embedding.npy, metrics.jsonl, report.html and, last, summary.json. Throws the documented errors,
/// agreed on all ranks.
ExitCode run_clustering(const Communicator& world, const RunOptions& run,
                        const ClusteringRunOptions& options);

}  // namespace eigenscale
