#include "eigenscale/train/pretraining.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/train/checkpoint.h"
#include "eigenscale/train/initialization_trials.h"
#include "eigenscale/train/plateau_rule.h"
#include "eigenscale/train/trainer.h"

namespace eigenscale {
namespace {

PretrainingResult pretrain_by_batches(const Placement& placement, Autoencoder& autoencoder,
                                      const torch::Tensor& rows, const PretrainingOptions& options,
                                      const std::function<bool(const EpochReport&)>& on_epoch) {
  const Communicator& communicator = placement.control();
  const RowPartition partition(all_reduce(communicator, rows.size(0)), communicator.size());
  on_all_ranks(communicator, [&] {
    TORCH_CHECK(partition.range(communicator.rank()).size() == rows.size(0),
                "pretrain: batches need the rows in blocks of a RowPartition");
  });
  const LabelledSamples samples{.partition = partition,
                                .rows = rows,
                                .labels = {},
                                .shape = {rows.size(1)},
                                .data = "the samples",
                                .labels_name = ""};
  const auto count = static_cast<double>(samples.count());
  const auto features = static_cast<double>(rows.size(1));
  TrainerOptions training;
  const std::int64_t steps = (samples.count() + options.batch_size - 1) / options.batch_size;
  const std::int64_t enough = (options.mini_batch.steps + steps - 1) / steps;
  const bool by_steps = options.stop_on_plateau && enough < options.max_epochs;
  training.epochs = by_steps ? enough : options.max_epochs;
  training.batches.batch_size = options.batch_size;
  training.batches.seed = options.seed;
  training.optimizer.adam = options.adam;
  training.learning_rate.base = options.mini_batch.learning_rate;
  training.checkpoints = options.checkpoints.directory;
  training.time_limit = options.checkpoints.time_limit;
  Trainer trainer(placement, std::make_unique<Reconstruction>(autoencoder), samples, nullptr,
                  training);
  PretrainingResult result;
  const auto take = [&](double loss) {
    result.last = {.initialization = 0,
                   .epoch = result.last.epoch + 1,
                   .loss = loss * count * features,
                   .rmse = std::sqrt(2 * loss)};
    if (result.last.rmse <= options.target_rmse) {
      result.stopped_by = "target RMSE";
    }
  };
  TrainingEvents events;
  events.before_save = options.checkpoints.before_save;
  events.enough = [&](const TrainingEpoch& epoch) {
    take(epoch.training_loss);
    if (on_epoch && !on_epoch(result.last)) {
      result.stopped_by = "request";
    }
    return !result.stopped_by.empty();
  };
  if (options.checkpoints.resume) {
    if (const auto newest = newest_checkpoint(communicator, options.checkpoints.directory)) {
      trainer.restore(*newest);
      log_info("pre-training goes on from {}: {} epochs done", newest->string(),
               trainer.epochs_done());
      for (const double loss : trainer.epoch_losses()) {
        take(loss);
      }
    }
  }
  if (result.stopped_by.empty() && trainer.run(events) == TrainingEnd::kStopped) {
    result.stopped_by = "request";
  }
  if (result.stopped_by.empty()) {
    result.stopped_by = by_steps ? "steps" : "epochs";
  }
  return result;
}

}  // namespace

PretrainingResult pretrain(const Placement& placement, Autoencoder& autoencoder,
                           const torch::Tensor& rows, const PretrainingOptions& options,
                           const std::function<bool(const EpochReport&)>& on_epoch) {
  if (autoencoder.parameters().empty() || options.max_epochs < 1) {
    return {{}, autoencoder.parameters().empty() ? "no parameters" : "epochs"};
  }
  if (options.batch_size > 0) {
    // Not owned: on the host it is trained in place.
    const auto trained = autoencoder_at(placement, {std::shared_ptr<void>(), &autoencoder});
    const auto result = pretrain_by_batches(placement, *trained, rows, options, on_epoch);
    bring_weights(placement, *trained, autoencoder);
    return result;
  }
  if (placement.on_device()) {
    throw std::invalid_argument("pre-training by the full batch is for the host");
  }
  return InitializationTrials(placement.control(), autoencoder, rows, options, on_epoch).run();
}

std::int64_t pretraining_epochs_done(const Communicator& communicator,
                                     const std::filesystem::path& directory, bool by_batches) {
  if (!by_batches) {
    return InitializationTrials::epochs_done(communicator, directory);
  }
  const auto newest = newest_checkpoint(communicator, directory);
  return newest ? read_checkpoint(communicator, *newest).state.value("epoch", std::int64_t{0}) : 0;
}

double reconstruction_rmse(const Communicator& communicator, Autoencoder& autoencoder,
                           const torch::Tensor& rows, std::int64_t chunk_rows) {
  torch::NoGradGuard no_grad;
  double squares = 0;
  for (const auto& columns : reconstruction_chunks(rows, chunk_rows)) {
    squares +=
        reconstruction_error(autoencoder, columns).square().sum(torch::kFloat64).item<double>();
  }
  return std::sqrt(all_reduce(communicator, squares) /
                   static_cast<double>(all_reduce(communicator, rows.numel())));
}

}  // namespace eigenscale
