#include "eigenscale/train/pretraining.h"

#include <cmath>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/train/initialization_trials.h"
#include "eigenscale/train/objective.h"

namespace eigenscale {

PretrainingResult pretrain(const Placement& placement, Autoencoder& autoencoder,
                           const torch::Tensor& rows, const PretrainingOptions& options,
                           const std::function<bool(const EpochReport&)>& on_epoch) {
  if (autoencoder.parameters().empty() || options.max_epochs < 1) {
    return {{}, autoencoder.parameters().empty() ? "no parameters" : "epochs"};
  }
  return InitializationTrials(placement, autoencoder, rows, options, on_epoch).run();
}

std::int64_t pretraining_epochs_done(const Communicator& communicator,
                                     const std::filesystem::path& directory) {
  return InitializationTrials::epochs_done(communicator, directory);
}

double reconstruction_rmse(const Communicator& communicator, Autoencoder& autoencoder,
                           const torch::Tensor& rows) {
  const LabelledSamples samples{
      .partition = RowPartition(all_reduce(communicator, rows.size(0)), communicator.size()),
      .rows = rows,
      .labels = {},
      .shape = {rows.size(1)},
      .data = "the samples",
      .labels_name = ""};
  return std::sqrt(2 *
                   Reconstruction(autoencoder).evaluate(Placement(communicator), samples, 1).loss);
}

}  // namespace eigenscale
