#include "eigenscale/cluster/subspace_ablation.h"

#include <algorithm>

#include "eigenscale/cluster/kmeans.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/subspace_assignment.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/comm/agreement.h"

namespace eigenscale {

std::map<std::string, ClusteringMetrics> subspace_ablation(
    const Communicator& world, const RowPartition& partition, const RowProvider& raw,
    const RowProvider& unit, const torch::Tensor& classes, const torch::Tensor& unrefined,
    const SubspaceAblationOptions& options) {
  const std::int64_t count = std::min(options.sample, partition.rows());
  const auto drawn = draw_rows(partition.rows(), count, options.seed, "ablation");
  // A balanced split of the sample, rows of which may lie anywhere.
  const RowPartition sample(count, world.size());
  std::vector<std::vector<std::int64_t>> wanted;
  for (int rank = 0; rank < world.size(); ++rank) {
    const auto range = sample.range(rank);
    wanted.emplace_back(drawn.begin() + range.begin, drawn.begin() + range.end);
  }
  const auto type = unrefined.scalar_type();
  const auto raw_rows = exchange_rows(world, partition, raw, wanted, type);
  const auto unit_rows = exchange_rows(world, partition, unit, wanted, type);
  const MemoryRows class_rows(classes.to(torch::kFloat64).unsqueeze(1));
  const auto labels = exchange_rows(world, partition, class_rows, wanted, torch::kFloat64)
                          .flatten()
                          .to(torch::kInt64);
  std::map<std::string, ClusteringMetrics> result;
  const auto measure = [&](const char* name, const torch::Tensor& found) {
    result[name] = clustering_metrics(confusion_matrix(world, found, labels));
  };

  measure(
      "kmeans_baseline",
      kmeans(world, sample, raw_rows, {.clusters = options.clusters, .seed = options.seed}).labels);
  const auto alone = torch::empty({unit_rows.size(0)}, torch::kInt64);
  const auto residuals = torch::empty({unit_rows.size(0)}, torch::kFloat32);
  SubspaceAssigner(unrefined).assign(unit_rows, sample.range(world.rank()).begin,
                                     {alone, residuals});
  measure("landmarks_alone", alone);
  const MemoryRows held(unit_rows);
  measure("random_start", refine_subspaces(world, held,
                                           random_bases(options.clusters, unrefined.size(1),
                                                        unrefined.size(2), options.seed, type),
                                           {})
                              .labels);
  return result;
}

}  // namespace eigenscale
