#pragma once

#include <optional>

#include "eigenscale/cluster/clustering_snapshots.h"
#include "eigenscale/nn/autoencoder.h"
#include "eigenscale/train/pretraining.h"

namespace eigenscale {

/// [local] The weights that pre-training has made or a file has given, and how it ended.
void note_encoder(ClusteringSnapshots& snapshots, const Autoencoder& autoencoder,
                  const std::optional<PretrainingResult>& result);
/// [local] Other weights in place of these.
void note_weights(ClusteringSnapshots& snapshots, const Autoencoder& autoencoder);
bool has_encoder(const ClusteringSnapshots& snapshots);
std::optional<PretrainingResult> take_encoder(const ClusteringSnapshots& snapshots,
                                              Autoencoder& autoencoder);

}  // namespace eigenscale
