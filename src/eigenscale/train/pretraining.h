#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <string>

#include "eigenscale/comm/placement.h"
#include "eigenscale/nn/autoencoder.h"

namespace eigenscale {

/// Where pre-training keeps its checkpoints, and whether it goes on from the newest. They are the
/// trainer's (train/checkpoint.h), in a folder for each initialisation.
struct PretrainingCheckpoints {
  std::filesystem::path directory;  ///< empty: none
  bool resume = false;
  double interval = 60;  ///< seconds between those at the end of an epoch
  /// [collective] Before one is written; what it throws is agreed and ends the run.
  std::function<void()> before_save = [] {};
  /// Seconds after which it stops with a checkpoint, as it does when a signal asks it to; 0: never.
  double time_limit = 0;
};

struct PretrainingOptions {
  /// Ends after this many epochs at the latest ...
  std::int64_t max_epochs = std::numeric_limits<std::int64_t>::max();
  /// ... or after as many as make so many steps, at least one; 0 for never.
  std::int64_t steps = 0;
  /// Stop when the RMSE per feature of an epoch is at most this; 0 for never.
  double target_rmse = 0;
  /// Samples of all ranks in a step; 0: all of them.
  std::int64_t batch_size = 0;
  /// Adam's; where it falls, as a cosine to zero at the last step.
  double learning_rate = 1e-3;
  bool rate_falls = false;
  /// Rows that pass forward and backward at once where a step takes all of them: bounds the memory
  /// of the activations. Large chunks leave the cache (COIL20: 720 rows cost 12 to 17 % more per
  /// row than 400).
  std::int64_t chunk_rows = 512;
  /// Initialisations (of `seed`, beside the given one) that compete: each trains for `trial_steps`
  /// (whole epochs), and the one with the smallest loss then goes on alone. Some start with units
  /// that no sample reaches and rest far above the others for good; who leads after the first
  /// descent still leads at the end.
  std::int64_t initializations = 1;
  std::int64_t trial_steps = 1000;
  std::uint64_t seed = 1;
  PretrainingCheckpoints checkpoints;
};

/// What is known after one epoch, a pass over all samples: means over its steps, before the update
/// of each.
struct EpochReport {
  std::int64_t initialization = 0;
  std::int64_t epoch = 0;  ///< from 1
  std::int64_t of = 0;     ///< epochs at most
  double loss = 0;         ///< 1/2 sum ||X - Xr||^2 over all samples
  double rmse = 0;         ///< root of the mean squared error per feature, in units of the input
};

struct PretrainingResult {
  EpochReport last;
  /// "steps", "target RMSE", "epochs", "request" (of the caller, or to go on later) or
  /// "no parameters".
  std::string stopped_by;
};

/// [collective] Trains the autoencoder on all rows of all ranks (`rows`: this rank's, n_p x D,
/// maybe none, in blocks of a RowPartition) to reconstruct them, by the Trainer: shuffled batches
/// that are the same on any number of ranks. `on_epoch` is called on every rank after each epoch
/// with the same values; training stops when it returns false, which it must do on all ranks alike.
/// The winner's weights end in `autoencoder`. Rows and autoencoder are on the host; it trains where
/// `placement` says. Throws NumericalError on all ranks when the loss is
/// not finite.
PretrainingResult pretrain(const Placement& placement, Autoencoder& autoencoder,
                           const torch::Tensor& rows, const PretrainingOptions& options,
                           const std::function<bool(const EpochReport&)>& on_epoch = {});

/// [collective] Epochs that the newest checkpoints in `directory` have done, those of all
/// initialisations together; 0 where there is none.
std::int64_t pretraining_epochs_done(const Communicator& communicator,
                                     const std::filesystem::path& directory);

/// [collective] Root mean squared reconstruction error per feature over all samples.
double reconstruction_rmse(const Communicator& communicator, Autoencoder& autoencoder,
                           const torch::Tensor& rows);

}  // namespace eigenscale
