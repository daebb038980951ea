#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/nn/autoencoder.h"
#include "eigenscale/nn/safetensors.h"
#include "eigenscale/train/pretraining.h"

namespace eigenscale {

/// [local] Rows n x D as the layers want them, samples as columns, in pieces of at most so many.
std::vector<torch::Tensor> reconstruction_chunks(const torch::Tensor& rows,
                                                 std::int64_t chunk_rows);
/// [local] decode(encode(X)) - X.
torch::Tensor reconstruction_error(Autoencoder& autoencoder, const torch::Tensor& columns);

/// Full-batch pre-training: initialisations compete, the best one goes on alone. Borrows what it is
/// given.
class InitializationTrials {
 public:
  /// [collective]
  InitializationTrials(const Communicator& communicator, Autoencoder& autoencoder,
                       const torch::Tensor& rows, const PretrainingOptions& options,
                       const std::function<bool(const EpochReport&)>& on_epoch);
  ~InitializationTrials();

  /// [collective] See pretrain().
  PretrainingResult run();

  /// [collective] Epochs of all trials that the newest checkpoint has done.
  static std::int64_t epochs_done(const Communicator& communicator,
                                  const std::filesystem::path& directory);

 private:
  class Trial;

  std::unique_ptr<Trial> begin(std::int64_t initialization);
  void train(Trial& trial, std::int64_t epochs);
  bool stop_or_save(const Trial& trial);
  void save(const Trial& trial) const;
  std::int64_t restore();

  const Communicator& communicator_;
  Autoencoder& autoencoder_;
  const PretrainingOptions& options_;
  const std::function<bool(const EpochReport&)>& on_epoch_;
  std::vector<torch::Tensor> chunks_;
  double elements_;
  double begin_;
  double saved_;
  std::int64_t epochs_ = 0;           ///< of all trials
  std::unique_ptr<Trial> leader_;     ///< the best of those that have had their trial
  std::unique_ptr<Trial> contender_;  ///< in its trial
};

}  // namespace eigenscale
