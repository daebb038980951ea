#include "eigenscale/cluster/pipeline_snapshots.h"

#include <nlohmann/json.hpp>

#include "eigenscale/cluster/affinity.h"
#include "eigenscale/linalg/row_blocks.h"

namespace eigenscale {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ClusteringMetrics, accuracy, nmi, ari)

namespace {

constexpr const char* kFineTuning = "finetune";
constexpr const char* kFindings = "findings";
constexpr const char* kAffinity = "affinity";
constexpr const char* kResult = "embedding";
constexpr const char* kWeights = "weights/";

}  // namespace

void step_fine_tuning(ClusteringSnapshots& snapshots, const Autoencoder& autoencoder,
                      const SelfExpressiveLayer& layer, const FineTuningProgress& progress,
                      bool last) {
  const auto note = [&] {
    NamedTensors tensors;
    for (const auto& [name, tensor] : named_parameters(autoencoder)) {
      tensors[kWeights + name] = tensor.detach();
    }
    for (std::size_t i = 0; i < progress.moments.size(); ++i) {
      tensors["moment/" + std::to_string(i)] = progress.moments[i];
    }
    snapshots.note(kFineTuning,
                   {{"step", progress.step},
                    {"moments", progress.moments.size()},
                    {"order", progress.order},
                    {"order_is_final", progress.order_is_final}},
                   tensors);
  };
  const auto rows = [&](SnapshotWriter& writer) {
    for (std::size_t i = 0; i < layer.kState.size(); ++i) {
      writer.write_rows(layer.kState[i], layer.state_rows(i));
    }
  };
  if (last) {
    note();
    snapshots.save(rows);
  } else {
    snapshots.step(note, rows);
  }
  snapshots.forget(kFineTuning);  // the weights go on
}

FineTuningProgress take_fine_tuning(ClusteringSnapshots& snapshots, Autoencoder& autoencoder,
                                    SelfExpressiveLayer& layer, const RowRange& own) {
  if (!snapshots.has(kFineTuning)) {
    return {};
  }
  const nlohmann::json state = snapshots.found(kFineTuning);
  FineTuningProgress progress{state.at("step"), {}, state.at("order"), state.at("order_is_final")};
  NamedTensors weights;
  const std::string prefix = kWeights;
  for (const auto& [name, tensor] : snapshots.tensors(kFineTuning)) {
    if (name.starts_with(prefix)) {
      weights[name.substr(prefix.size())] = tensor;
    }
  }
  load_parameters(autoencoder, weights, "the snapshot's network");
  for (std::size_t i = 0; i < state.at("moments").get<std::size_t>(); ++i) {
    progress.moments.push_back(snapshots.tensor(kFineTuning, "moment/" + std::to_string(i)));
  }
  for (std::size_t i = 0; i < layer.kState.size(); ++i) {
    layer.set_state_rows(i, snapshots.rows(layer.kState[i], own));
  }
  layer.set_steps(progress.step);
  snapshots.forget(kFineTuning);
  return progress;
}

void note_findings(ClusteringSnapshots& snapshots, const ClusteringResult& result) {
  NamedTensors tensors;
  if (result.latent_singular_values.defined()) {
    tensors["latent_singular_values"] = result.latent_singular_values;
  }
  snapshots.note(kFindings, {{"metrics", result.metrics}, {"choices", result.choices}}, tensors);
}

void take_findings(const ClusteringSnapshots& snapshots, ClusteringResult& result) {
  if (snapshots.has(kFindings)) {
    snapshots.found(kFindings).at("metrics").get_to(result.metrics);
    snapshots.found(kFindings).at("choices").get_to(result.choices);
    result.latent_singular_values = snapshots.tensors(kFindings)["latent_singular_values"];
  }
}

void save_baselines(ClusteringSnapshots& snapshots, const ClusteringResult& result) {
  if (!snapshots.has(kFineTuning) && !snapshots.has(kAffinity) && !snapshots.has(kResult)) {
    note_findings(snapshots, result);
    snapshots.save();
  }
}

void save_affinity(ClusteringSnapshots& snapshots, const ClusteringResult& result,
                   const DistributedMatrix& affinity, const RowPartition& partition) {
  note_findings(snapshots, result);
  snapshots.note(kAffinity, {{"samples", partition.rows()}});
  snapshots.save([&](SnapshotWriter& writer) {
    writer.write_rows(kAffinity, to_row_blocks(affinity, partition));
  });
  snapshots.forget(kAffinity);
}

std::optional<DistributedMatrix> take_affinity(ClusteringSnapshots& snapshots,
                                               std::shared_ptr<const ProcessGrid> grid,
                                               const RowPartition& partition, int rank) {
  if (!snapshots.has(kAffinity)) {
    return std::nullopt;
  }
  auto affinity =
      DistributedMatrix::zeros(spectral_layout(partition.rows(), std::move(grid)), torch::kFloat64);
  const auto rows = snapshots.rows(kAffinity, partition.range(rank));
  affinity.local().copy_(from_row_blocks(rows, partition, affinity.layout()).local());
  snapshots.forget(kAffinity);
  return affinity;
}

void save_result(ClusteringSnapshots& snapshots, const ClusteringResult& result) {
  note_findings(snapshots, result);
  snapshots.note(kResult,
                 {{"objective", result.objective},
                  {"isolated", result.isolated},
                  {"components", result.components},
                  {"found_clusters", result.found_clusters}},
                 {{"eigenvalues", result.eigenvalues}, {"picture", result.affinity_picture}});
  snapshots.write(
      [&](SnapshotWriter& writer) {
        writer.write_rows("labels", result.labels);
        writer.write_rows("embedding", result.embedding);
      },
      /*keep=*/1);
}

bool take_result(const ClusteringSnapshots& snapshots, const RowRange& own,
                 ClusteringResult& result) {
  if (!snapshots.has(kResult)) {
    return false;
  }
  const auto& state = snapshots.found(kResult);
  state.at("objective").get_to(result.objective);
  state.at("isolated").get_to(result.isolated);
  state.at("components").get_to(result.components);
  state.at("found_clusters").get_to(result.found_clusters);
  result.eigenvalues = snapshots.tensor(kResult, "eigenvalues");
  result.affinity_picture = snapshots.tensor(kResult, "picture");
  result.labels = snapshots.rows("labels", own);
  result.embedding = snapshots.rows("embedding", own);
  return true;
}

}  // namespace eigenscale
