#include "eigenscale/cluster/subspace_ablation.h"

#include <algorithm>

#include "eigenscale/cluster/kmeans.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/subspace_assignment.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/data/row_placement.h"

namespace eigenscale {
namespace {

// Numbers of the sample on all ranks: half a GiB in single precision.
constexpr std::int64_t kMostNumbers = std::int64_t{1} << 27;

/// Ascending global indices, on all ranks, of at most `count` of the rows with a label.
std::vector<std::int64_t> labelled_sample(const Communicator& world, const RowRange& own,
                                          const torch::Tensor& classes, std::int64_t count,
                                          std::uint64_t seed) {
  const auto labelled = (classes >= 0).nonzero().flatten();
  const auto [first, total] = place_rows(world, labelled.numel());
  const auto drawn = draw_rows(total, std::min(count, total), seed, "ablation");
  auto indices = torch::zeros({std::ssize(drawn)}, torch::kInt64);
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    if (drawn[i] >= first && drawn[i] < first + labelled.numel()) {
      indices.data_ptr<std::int64_t>()[i] =
          own.begin + labelled.data_ptr<std::int64_t>()[drawn[i] - first];
    }
  }
  world.all_reduce(indices);  // one owner each and zeros elsewhere
  return {indices.data_ptr<std::int64_t>(), indices.data_ptr<std::int64_t>() + indices.numel()};
}

}  // namespace

std::map<std::string, ClusteringMetrics> subspace_ablation(
    const Communicator& world, const RowPartition& partition, const RowProvider& raw,
    const RowProvider& unit, const torch::Tensor& classes, const torch::Tensor& unrefined,
    const SubspaceAblationOptions& options) {
  const std::int64_t most = std::max<std::int64_t>(options.clusters, kMostNumbers / raw.features());
  const auto drawn = labelled_sample(world, partition.range(world.rank()), classes,
                                     std::min(options.sample, most), options.seed);
  const auto count = std::ssize(drawn);
  if (count < options.clusters) {
    return {};
  }
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
