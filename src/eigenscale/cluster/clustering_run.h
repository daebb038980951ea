#pragma once

#include <array>
#include <functional>
#include <string>

#include "eigenscale/cluster/pipeline.h"
#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// One run of eigenscale-cluster, from files to the run directory.
struct ClusteringRunOptions {
  std::string data;
  std::string labels;  // empty: none
  std::string output;
  bool overwrite = false;
  double scale = 1;
  std::string device = "cpu";
  std::string progress = "auto";
  bool trace = false;
  /// The effective options as INI text.
  std::string configuration;
  bool has_preset = false;
  /// Applies what the user gave on top of the defaults, which depend on the number of samples.
  std::function<void(ClusteringSettings&)> override_settings;
  /// {0, 0}: the squarest.
  std::array<int, 2> grid = {0, 0};
  ClusteringOptions clustering;
};

/// [collective] Reads, clusters, and writes labels.npy, embedding.npy, metrics.jsonl, report.html
/// and, last, summary.json. Throws the documented errors, agreed on all ranks.
void run_clustering(const Communicator& world, const ClusteringRunOptions& options);

}  // namespace eigenscale
