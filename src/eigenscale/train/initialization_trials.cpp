#include "eigenscale/train/initialization_trials.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/train/checkpoint.h"
#include "eigenscale/train/trainer.h"

namespace eigenscale {
namespace {

std::int64_t rounded_up(std::int64_t value, std::int64_t step) { return (value + step - 1) / step; }

std::filesystem::path folder_of(const std::filesystem::path& directory,
                                std::int64_t initialization) {
  return directory.empty() ? directory
                           : directory / ("initialization-" + std::to_string(initialization));
}

}  // namespace

/// One initialisation and how far its training has come.
class InitializationTrials::Trial {
 public:
  /// [collective] Initialisation 0 is that of the given network, which it trains; others are
  /// networks of their own.
  Trial(const InitializationTrials& all, std::int64_t initialization)
      : options_(all.options_),
        on_epoch_(all.on_epoch_),
        values_(static_cast<double>(all.samples_.count()) *
                static_cast<double>(all.samples_.rows.size(1))),
        own_(initialization == 0 ? nullptr
                                 : std::make_unique<Autoencoder>(all.autoencoder_.specification(),
                                                                 all.autoencoder_.precision(),
                                                                 options_.seed, initialization)),
        // Not owned: on the host it is trained in place.
        trained_(autoencoder_at(all.placement_,
                                {std::shared_ptr<void>(), own_ ? own_.get() : &all.autoencoder_})),
        initialization_(initialization),
        training_(training_options(all, initialization)),
        trainer_(all.placement_, std::make_unique<Reconstruction>(*trained_), all.samples_, nullptr,
                 training_) {
    const auto newest = options_.checkpoints.resume
                            ? newest_checkpoint(all.placement_.control(), training_.checkpoints)
                            : std::nullopt;
    if (newest) {
      trainer_.restore(*newest);
      log_info("pre-training goes on from {}: {} epochs done", newest->string(),
               trainer_.epochs_done());
    }
  }

  /// [collective] To the end, or to `epochs` if that comes first.
  void run(std::int64_t epochs) {
    if (trainer_.epochs_done() < std::min(epochs, training_.epochs) && !is_over()) {
      TrainingEvents events;
      events.before_save = options_.checkpoints.before_save;
      events.enough = [&](const TrainingEpoch& epoch) {
        requested_ = on_epoch_ && !on_epoch_(report(epoch.epoch));
        return requested_ || epoch.epoch >= epochs || reached_target();
      };
      requested_ = trainer_.run(events) == TrainingEnd::kStopped || requested_;
    }
  }

  bool reached_target() const {
    const auto& losses = trainer_.epoch_losses();
    return !losses.empty() && rmse(losses.back()) <= options_.target_rmse;
  }
  bool is_over() const { return requested_ || reached_target() || has_ended(); }

  PretrainingResult result() const {
    const auto done = trainer_.epochs_done();
    return {.last = done > 0 ? report(done) : EpochReport{.initialization = initialization_},
            .stopped_by = requested_         ? "request"
                          : reached_target() ? "target RMSE"
                          : by_steps_        ? "steps"
                                             : "epochs"};
  }

  /// Of its last epoch up to `epoch`.
  double loss(std::int64_t epoch) const {
    const auto& losses = trainer_.epoch_losses();
    return losses[std::min<std::size_t>(epoch, losses.size()) - 1];
  }

  const Autoencoder& network() const { return *trained_; }

 private:
  TrainerOptions training_options(const InitializationTrials& all, std::int64_t initialization) {
    const std::int64_t enough = rounded_up(options_.steps, all.steps_of_epoch_);
    by_steps_ = options_.steps > 0 && enough < options_.max_epochs;
    TrainerOptions training;
    training.epochs = by_steps_ ? enough : options_.max_epochs;
    training.batches.batch_size = options_.batch_size;
    training.batches.seed = options_.seed;
    if (all.steps_of_epoch_ == 1) {
      // The batch may be larger than the samples, so that pieces divide it.
      training.micro_batch = std::min(options_.chunk_rows, options_.batch_size);
      training.batches.batch_size =
          training.micro_batch * rounded_up(options_.batch_size, training.micro_batch);
    }
    training.learning_rate.base = options_.learning_rate;
    if (options_.rate_falls) {
      training.learning_rate.kind = LearningRateSchedule::Kind::kCosine;
      training.learning_rate.epochs = static_cast<double>(training.epochs);
    }
    const auto& checkpoints = options_.checkpoints;
    training.checkpoints = folder_of(checkpoints.directory, initialization);
    training.checkpoint_interval = checkpoints.interval;
    training.time_limit =
        checkpoints.time_limit > 0
            ? std::max(checkpoints.time_limit - (now_seconds() - all.begin_), 1e-9)
            : 0;
    return training;
  }

  bool has_ended() const { return trainer_.epochs_done() >= training_.epochs; }
  /// The trainer's loss is a mean over samples and features.
  static double rmse(double loss) { return std::sqrt(2 * loss); }
  EpochReport report(std::int64_t epoch) const {
    const double loss = trainer_.epoch_losses()[epoch - 1];
    return {.initialization = initialization_,
            .epoch = epoch,
            .of = training_.epochs,
            .loss = loss * values_,
            .rmse = rmse(loss)};
  }

  const PretrainingOptions& options_;
  const std::function<bool(const EpochReport&)>& on_epoch_;
  double values_;
  std::unique_ptr<Autoencoder> own_;
  std::shared_ptr<Autoencoder> trained_;
  std::int64_t initialization_;
  bool by_steps_ = false;
  TrainerOptions training_;
  Trainer trainer_;
  bool requested_ = false;
};

InitializationTrials::InitializationTrials(const Placement& placement, Autoencoder& autoencoder,
                                           const torch::Tensor& rows,
                                           const PretrainingOptions& options,
                                           const std::function<bool(const EpochReport&)>& on_epoch)
    : placement_(placement),
      autoencoder_(autoencoder),
      options_(options),
      on_epoch_(on_epoch),
      samples_{.partition = RowPartition(all_reduce(placement.control(), rows.size(0)),
                                         placement.control().size()),
               .rows = rows,
               .labels = {},
               .shape = {rows.size(1)},
               .data = "the samples",
               .labels_name = ""},
      begin_(now_seconds()) {
  on_all_ranks(placement.control(), [&] {
    TORCH_CHECK(samples_.partition.range(placement.control().rank()).size() == rows.size(0),
                "pretrain: the rows must lie in blocks of a RowPartition");
  });
  const std::int64_t count = std::max<std::int64_t>(samples_.count(), 1);
  options_.batch_size = options.batch_size > 0 ? std::min(options.batch_size, count) : count;
  steps_of_epoch_ = rounded_up(count, options_.batch_size);
}

InitializationTrials::~InitializationTrials() = default;

PretrainingResult InitializationTrials::run() {
  const std::int64_t trial = std::max<std::int64_t>(1, options_.trial_steps / steps_of_epoch_);
  std::unique_ptr<Trial> leader;
  for (std::int64_t next = 0; next < options_.initializations; ++next) {
    auto contender = std::make_unique<Trial>(*this, next);
    contender->run(options_.initializations > 1 ? trial : options_.max_epochs);
    auto result = contender->result();
    if (result.stopped_by == "request") {
      return result;
    }
    if (leader == nullptr || contender->loss(trial) < leader->loss(trial)) {
      leader = std::move(contender);
    }
    if (leader->is_over()) {
      break;
    }
  }
  leader->run(options_.max_epochs);
  const auto result = leader->result();
  bring_weights(placement_, leader->network(), autoencoder_);
  return result;
}

std::int64_t InitializationTrials::epochs_done(const Communicator& communicator,
                                               const std::filesystem::path& directory) {
  std::int64_t epochs = 0;
  for (std::int64_t next = 0;; ++next) {
    const auto newest = newest_checkpoint(communicator, folder_of(directory, next));
    if (!newest) {
      return epochs;
    }
    epochs += read_checkpoint(communicator, *newest).state.value("epoch", std::int64_t{0});
  }
}

}  // namespace eigenscale
