#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "eigenscale/comm/placement.h"
#include "eigenscale/nn/autoencoder.h"
#include "eigenscale/train/adam.h"

namespace eigenscale {

/// Defaults were chosen on Fashion-MNIST, by its reconstructions alone.
struct MiniBatchOptions {
  double learning_rate = 2e-3;
  /// As many passes as make so many steps, at least one: thousands of samples get tens of passes,
  /// millions one, and all about the same time.
  std::int64_t steps = 2000;
};

/// Where pre-training keeps its checkpoints, and whether it goes on from the newest. By batches
/// they are the trainer's (train/checkpoint.h), one an epoch; of the full batch they are snapshots
/// (data/snapshot.h) by the name epoch-N of the initialisations that compete.
struct PretrainingCheckpoints {
  std::filesystem::path directory;  ///< empty: none
  bool resume = false;
  double interval = 60;  ///< seconds between those of the full batch
  /// [collective] Before one is written; what it throws is agreed and ends the run.
  std::function<void()> before_save = [] {};
  /// Seconds after which it stops with a checkpoint, as it does when a signal asks it to; 0: never.
  double time_limit = 0;
};

struct PretrainingOptions {
  /// Ends after this many epochs at the latest.
  std::int64_t max_epochs = 10000;
  /// Also stop on a plateau of the loss, with batches after `mini_batch.steps`; false runs exactly
  /// `max_epochs` (or to the target).
  bool stop_on_plateau = true;
  double minimum_improvement = 0.01;
  std::int64_t plateau_window = 500;
  std::int64_t plateau_first_epoch = 1000;
  /// Stop when the RMSE per feature is at most this; 0 for never.
  double target_rmse = 0;
  /// Rows of one forward and backward pass; bounds the memory of the activations, not the batch.
  /// Large chunks leave the cache (COIL20: 720 rows cost 12 to 17 % more per row than 400).
  std::int64_t chunk_rows = 512;
  AdamOptions adam;
  /// Initialisations (of `seed`, beside the given one) that compete: each trains for `trial_epochs`
  /// and the one with the smallest loss then goes on alone. Some start with units that no sample
  /// reaches and rest far above the others for good; who leads after the first descent still leads
  /// at the end.
  std::int64_t initializations = 1;
  std::int64_t trial_epochs = 1000;
  std::uint64_t seed = 1;
  /// Samples of all ranks in a step; 0: all of them, as the paper. With batches an epoch is a pass,
  /// `mini_batch` holds instead of the plateau's numbers and of Adam's learning rate, and nothing
  /// competes. For thousands of samples: full-batch Adam needs thousands of passes however many
  /// there are, and batches tens.
  std::int64_t batch_size = 0;
  MiniBatchOptions mini_batch;
  PretrainingCheckpoints checkpoints;
};

/// What is known after one epoch: of the parameters it started from, or with batches the mean over
/// the steps.
struct EpochReport {
  std::int64_t initialization = 0;
  std::int64_t epoch = 0;  ///< from 1
  double loss = 0;         ///< 1/2 sum ||X - Xr||^2 over all samples
  double rmse = 0;         ///< root of the mean squared error per feature, in units of the input
};

struct PretrainingResult {
  EpochReport last;
  /// "plateau", "steps", "target RMSE", "epochs", "request" (of the caller, or to go on later) or
  /// "no parameters".
  std::string stopped_by;
};

/// [collective] Trains the autoencoder on all rows of all ranks (`rows`: this rank's, n_p x D,
/// maybe none) by full-batch Adam on 1/2 sum ||X - decode(encode(X))||^2. `on_epoch` is called on
/// every rank after each epoch with the same values; training stops when it returns false, which
/// it must do on all ranks alike. The winner's weights end in `autoencoder`. With a batch size it
/// is the Trainer that trains, on shuffled batches that are the same on any number of ranks; rows
/// then lie as a RowPartition says. Rows and autoencoder are on the host; by batches it trains
/// where `placement` says; the full batch is for the host only. Throws NumericalError on all ranks
/// when the loss is not finite.
PretrainingResult pretrain(const Placement& placement, Autoencoder& autoencoder,
                           const torch::Tensor& rows, const PretrainingOptions& options,
                           const std::function<bool(const EpochReport&)>& on_epoch = {});

/// [collective] Epochs that the newest checkpoint in `directory` has done, those of all
/// initialisations together; 0 where there is none.
std::int64_t pretraining_epochs_done(const Communicator& communicator,
                                     const std::filesystem::path& directory, bool by_batches);

/// [collective] Root mean squared reconstruction error per feature over all samples.
double reconstruction_rmse(const Communicator& communicator, Autoencoder& autoencoder,
                           const torch::Tensor& rows, std::int64_t chunk_rows = 512);

}  // namespace eigenscale
