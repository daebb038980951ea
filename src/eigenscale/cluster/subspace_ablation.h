#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>

#include "eigenscale/cluster/metrics.h"
#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/row_provider.h"

namespace eigenscale {

struct SubspaceAblationOptions {
  std::int64_t clusters = 2;
  std::uint64_t seed = 1;
  /// Rows of the fixed sample, of those with a label, at most; fewer of very wide rows.
  std::int64_t sample = 100000;
};

/// [collective] What the parts of the method reach alone, on a fixed sample of the rows with a
/// reference label: "kmeans_baseline" (on the raw rows), "random_start" (the model refined on the
/// sample from random subspaces), "landmarks_alone" (the landmarks' labels carried on without any
/// refinement, by `unrefined`, K x d x s). Empty when fewer than K rows have a label. `raw` and
/// `unit` are this rank's rows of `partition`, `classes` their labels (int64; negative: none).
std::map<std::string, ClusteringMetrics> subspace_ablation(
    const Communicator& world, const RowPartition& partition, const RowProvider& raw,
    const RowProvider& unit, const torch::Tensor& classes, const torch::Tensor& unrefined,
    const SubspaceAblationOptions& options);

}  // namespace eigenscale
