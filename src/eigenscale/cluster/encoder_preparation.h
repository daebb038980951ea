#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "eigenscale/cluster/presets.h"
#include "eigenscale/comm/placement.h"
#include "eigenscale/nn/autoencoder.h"
#include "eigenscale/train/pretraining.h"

namespace eigenscale {

/// [local] The autoencoder that `settings` ask for, for samples of shape `sample_shape` in the file
/// `data`. OptionError, InputError for what contradicts itself or the samples.
AutoencoderSpecification autoencoder_specification(const ClusteringSettings& settings,
                                                   const std::vector<std::int64_t>& sample_shape,
                                                   const std::string& data);

/// [local] `settings` with what `overrides` set and is read: options of another encoder, and of
/// pre-training where `pretrained` is a file of weights, are left out, and `warn` told of each.
ClusteringSettings with_read_overrides(const ClusteringSettings& settings,
                                       ClusteringOverrides overrides, const std::string& pretrained,
                                       const std::function<void(const std::string&)>& warn);

struct EncoderPreparation {
  /// Safetensors file of a pre-trained autoencoder; empty to pre-train.
  std::string pretrained;
  /// So many; without it the rules of docs/clustering.md end it.
  std::optional<std::int64_t> epochs;
  std::int64_t batch = 0;  ///< samples of a step; 0: all
  std::uint64_t seed = 1;
  PretrainingCheckpoints checkpoints;
};

/// [collective] Loads the autoencoder's weights, which are on the host, or trains it where
/// `placement` says to reconstruct the rows (n_p x D of each rank; not looked at where there is a
/// file). InputError (agreed) for a file of other weights.
std::optional<PretrainingResult> prepare_encoder(
    const Placement& placement, Autoencoder& autoencoder, const torch::Tensor& rows,
    const EncoderPreparation& options, const std::function<bool(const EpochReport&)>& on_epoch);

}  // namespace eigenscale
