#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Agreement of a clustering with reference labels.
struct ClusteringMetrics {
  /// Share of samples under the best one-to-one match of clusters to classes.
  double accuracy = 0;
  /// Mutual information over the arithmetic mean of the two entropies.
  double nmi = 0;
  /// Rand index adjusted for chance (Hubert and Arabie 1985).
  double ari = 0;
};

/// [collective] Counts of (cluster, class) over all ranks, on every rank: K x classes int64, small.
/// `clusters` and `classes` are this rank's labels, int64 from 0; samples of class -1 (outliers)
/// are not counted.
torch::Tensor confusion_matrix(const Communicator& communicator, const torch::Tensor& clusters,
                               const torch::Tensor& classes);

/// [local] The metrics of a confusion matrix; not a number when it counts no sample.
ClusteringMetrics clustering_metrics(const torch::Tensor& confusion);

/// [local] For every cluster (row) the class it is matched with by the assignment that covers the
/// most samples (Hungarian method, by dlib); -1 for clusters left over.
std::vector<std::int64_t> best_match(const torch::Tensor& confusion);

/// [collective] Renumbers labels by first appearance in the global sample order, in place.
/// `first_row` is the global index of this rank's first row.
void number_by_first_appearance(const Communicator& communicator, torch::Tensor labels,
                                std::int64_t first_row, std::int64_t clusters);

}  // namespace eigenscale
