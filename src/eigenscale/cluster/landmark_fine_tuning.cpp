#include "eigenscale/cluster/landmark_fine_tuning.h"

#include <optional>
#include <vector>

#include "eigenscale/cluster/clustering_summary.h"
#include "eigenscale/cluster/encoder_snapshot.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/memory_estimate.h"

namespace eigenscale {

torch::Tensor fine_tune_on_landmarks(const Communicator& world, Run& run,
                                     ClusteringSnapshots& snapshots, const RunRows& rows,
                                     ClusteringOptions clustering, std::int64_t landmarks) {
  const RowPartition blocks(landmarks, world.size());
  const auto own = blocks.range(world.rank());
  if (snapshots.has("landmark_labels")) {
    return snapshots.tensor("landmark_labels", "labels").narrow(0, own.begin, own.size());
  }
  const auto drawn = draw_landmarks(rows.partition().rows(), landmarks, clustering.seed);
  std::vector<std::vector<std::int64_t>> wanted;
  for (int rank = 0; rank < world.size(); ++rank) {
    const auto range = blocks.range(rank);
    wanted.emplace_back(drawn.begin() + range.begin, drawn.begin() + range.end);
  }
  clustering.autoencoder = clustering.network->specification();
  clustering.ablation = false;
  require_memory_for_coefficients(world, landmarks, false, clustering.precision);
  const Samples samples{
      blocks, exchange_rows(world, rows.partition(), rows.raw(), wanted, clustering.precision),
      rows.sample_shape()};
  const auto labels =
      cluster_samples(run.placement(), samples, std::nullopt, clustering,
                      {.phase = [&](const std::string& phase) { run.phase(phase); },
                       .epoch = [](const EpochReport&) { return true; },
                       .step =
                           [&](const FineTuningStep& step) {
                             log_step(run, step, clustering.settings.finetune_steps);
                             return true;
                           },
                       .pretrained = [](Autoencoder&) {}},
                      &snapshots)
          .labels;
  auto all = torch::empty({landmarks}, torch::kInt64);
  world.all_gather(all, labels, blocks.counts());
  note_weights(snapshots, *clustering.network);
  snapshots.forget("embedding");
  snapshots.forget("findings");
  snapshots.note("landmark_labels", {{"landmarks", landmarks}}, {{"labels", all}});
  snapshots.save();
  return labels;
}

}  // namespace eigenscale
