#include "eigenscale/cluster/encoder_snapshot.h"

#include <nlohmann/json.hpp>

namespace eigenscale {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(EpochReport, initialization, epoch, loss, rmse)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(PretrainingResult, last, stopped_by)

namespace {

constexpr const char* kEncoderPhase = "pretrain";

}  // namespace

void note_weights(ClusteringSnapshots& snapshots, const Autoencoder& autoencoder) {
  auto weights = named_parameters(autoencoder);
  for (auto& [name, tensor] : weights) {
    tensor = tensor.detach().clone();  // fine-tuning changes them
  }
  snapshots.note(kEncoderPhase, nlohmann::json(snapshots.found(kEncoderPhase)), weights);
}

void note_encoder(ClusteringSnapshots& snapshots, const Autoencoder& autoencoder,
                  const std::optional<PretrainingResult>& result) {
  nlohmann::json state = {{"trained", result.has_value()}};
  if (result) {
    state["result"] = *result;
  }
  snapshots.note(kEncoderPhase, state);
  note_weights(snapshots, autoencoder);
}

bool has_encoder(const ClusteringSnapshots& snapshots) { return snapshots.has(kEncoderPhase); }

std::optional<PretrainingResult> take_encoder(const ClusteringSnapshots& snapshots,
                                              Autoencoder& autoencoder) {
  load_parameters(autoencoder, snapshots.tensors(kEncoderPhase), "the snapshot's encoder");
  const auto& state = snapshots.found(kEncoderPhase);
  return state.contains("result") ? std::optional<PretrainingResult>(state["result"])
                                  : std::nullopt;
}

}  // namespace eigenscale
