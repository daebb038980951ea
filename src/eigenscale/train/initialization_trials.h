#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/labelled_samples.h"
#include "eigenscale/nn/autoencoder.h"
#include "eigenscale/train/pretraining.h"

namespace eigenscale {

/// Initialisations that compete: each is trained by a Trainer for as long as a trial takes, and the
/// one with the smallest loss goes on alone. Each has its own checkpoints, so that an interrupted
/// competition is the same one once more. Borrows what it is given.
class InitializationTrials {
 public:
  /// [collective] `rows`, on the host, are this rank's block of a RowPartition.
  InitializationTrials(const Placement& placement, Autoencoder& autoencoder,
                       const torch::Tensor& rows, const PretrainingOptions& options,
                       const std::function<bool(const EpochReport&)>& on_epoch);
  ~InitializationTrials();

  /// [collective] See pretrain().
  PretrainingResult run();

  /// [collective] Epochs of all trials that their newest checkpoints have done.
  static std::int64_t epochs_done(const Communicator& communicator,
                                  const std::filesystem::path& directory);

 private:
  class Trial;

  Placement placement_;
  Autoencoder& autoencoder_;
  PretrainingOptions options_;
  const std::function<bool(const EpochReport&)>& on_epoch_;
  LabelledSamples samples_;
  std::int64_t steps_of_epoch_;
  double begin_;
};

}  // namespace eigenscale
