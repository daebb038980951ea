#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/batch_stream.h"
#include "eigenscale/data/labelled_samples.h"
#include "eigenscale/nn/network.h"
#include "eigenscale/nn/safetensors.h"
#include "eigenscale/report/tree_timer.h"
#include "eigenscale/train/checkpoint.h"
#include "eigenscale/train/data_parallel_step.h"
#include "eigenscale/train/evaluation.h"
#include "eigenscale/train/learning_rate.h"
#include "eigenscale/train/objective.h"
#include "eigenscale/train/proximal_training.h"
#include "eigenscale/train/shrinking.h"

namespace eigenscale {

struct TrainerOptions {
  std::int64_t epochs = 10;
  /// Batches: global size, seed of the shuffle, type, scale, augmentation.
  BatchStreamOptions batches;
  OptimizerOptions optimizer;
  GradientReducerOptions reducer;
  LearningRateSchedule learning_rate;
  /// Penalties on neurons and ranks; none by default.
  ProximalOptions proximal;
  /// End with kShrink after so many epochs when penalties have removed neurons; 0 for never.
  std::int64_t shrink_every = 0;
  /// The specification that training began with, where the network is what shrinking left of it;
  /// checkpoints are of the same run when they have the same.
  nlohmann::json initial_specification;
  /// Gradients of a larger norm are scaled down to it; 0 for never.
  double clip_norm = 0;
  /// Samples of all ranks that pass forward and backward at once, a divisor of the batch size;
  /// gradients of the pieces add up. Normalisation layers then have the statistics of a piece,
  /// which is the same on any number of ranks. 0: the whole batch.
  std::int64_t micro_batch = 0;
  /// Stop after so many epochs without a better validation; 0 for never.
  std::int64_t patience = 0;
  /// A line of metrics every so many steps.
  std::int64_t log_every = 50;
  /// Where checkpoints go, and how often: every so many steps, 0 for at the end of each epoch.
  std::filesystem::path checkpoints;
  std::int64_t checkpoint_every = 0;
  /// Those at the end of an epoch come no sooner than so many seconds after the last one.
  double checkpoint_interval = 0;
  std::int64_t keep = 2;
  /// Stop with a checkpoint after so many seconds; 0 for never.
  double time_limit = 0;
};

/// A line of metrics: sums since the line before.
struct StepReport {
  std::int64_t step = 0;   ///< done so far
  std::int64_t epoch = 0;  ///< from 1
  double loss = 0;         ///< mean cross-entropy of the samples
  double error = 0;        ///< share of training samples classified wrongly
  double learning_rate = 0;
  double gradient_norm = 0;  ///< of the last step
  double samples_per_second = 0;
  /// Share of the time that was spent waiting for gradients of other ranks.
  double exposed_communication = 0;
};

/// What is known at the end of an epoch.
struct TrainingEpoch {
  std::int64_t epoch = 0;  ///< from 1
  std::int64_t step = 0;
  double training_loss = 0;
  double training_error = 0;
  std::optional<double> validation_loss;
  std::optional<double> validation_accuracy;
  double seconds = 0;
  /// What penalties have left; empty without any.
  std::vector<LayerSize> layers;
};

struct TrainingEvents {
  std::function<void(const StepReport&)> step = [](const StepReport&) {};
  std::function<void(const TrainingEpoch&)> epoch = [](const TrainingEpoch&) {};
  /// Whether the epoch before was enough, the same on all ranks; ends the run as patience does.
  std::function<bool(const TrainingEpoch&)> enough = [](const TrainingEpoch&) { return false; };
  std::function<void(const std::string&)> warning = [](const std::string&) {};
  /// [collective] Before a checkpoint is written; what it throws is agreed and ends the run.
  std::function<void()> before_save = [] {};
};

/// How a call of `run()` ended.
enum class TrainingEnd { kEpochs, kPatience, kStopped, kShrink };

/// Trains data-parallel by the mean of an objective (cross-entropy of a network, where nothing else
/// is said) over each global batch. The same samples make the same batches on any number of ranks,
/// and gradients are divided by the number of samples of all ranks: ragged batches are exact.
/// Borrows everything it is given; samples are on the host, what is trained lies where the
/// placement says. Penalties and shrinking are for networks on the host.
class Trainer {
 public:
  /// [collective] `validation` may be null. OptionError for a micro-batch that does not divide the
  /// batch.
  Trainer(const Placement& placement, Network& network, const LabelledSamples& training,
          const LabelledSamples* validation, const TrainerOptions& options);

  /// [collective] Of anything else, without penalties; `validation` measures the loss alone.
  Trainer(const Placement& placement, std::unique_ptr<Objective> objective,
          const LabelledSamples& training, const LabelledSamples* validation,
          const TrainerOptions& options);

  /// [collective] Goes on from a checkpoint, bit-identically when the number of ranks is that of
  /// the run which wrote it. InputError (agreed) naming what differs when it belongs to another
  /// network, data set or setting.
  void restore(const std::filesystem::path& path);

  /// [collective] Trains to the end, or until a signal or the time limit asks to stop; then there
  /// is a complete checkpoint. NumericalError (agreed) when the loss or a gradient of a step is not
  /// finite; parameters are then those before that step. The same when parameters or buffers are
  /// not, before a checkpoint is written and at the end: a checkpoint is always finite.
  TrainingEnd run(const TrainingEvents& events);

  /// [local] What a trainer of a smaller network goes on with after `run()` ended with kShrink;
  /// this trainer is done.
  ShrunkTraining shrink();
  /// [collective] Goes on from another trainer's; the network is one of that specification.
  void adopt(const ShrunkTraining& shrunk);

  /// [collective] Of the network as it is, in evaluation mode.
  Evaluation evaluate(const LabelledSamples& samples);

  /// [local] The parameters and buffers with the best validation accuracy; the present ones where
  /// there is no validation, and where penalties make the network smaller epoch by epoch.
  NamedTensors best_model() const;
  std::int64_t best_epoch() const { return proximal_ ? epoch_ : best_epoch_; }
  std::int64_t steps() const { return step_; }
  std::int64_t epochs_done() const { return epoch_; }
  /// Mean training loss of each epoch, those before a checkpoint included.
  const std::vector<double>& epoch_losses() const { return epoch_losses_; }

  const TreeTimer& timer() const { return timer_; }
  DataParallelStep& parallel() { return parallel_; }

 private:
  struct Sums {
    double loss = 0;
    double wrong = 0;
    double samples = 0;
    double seconds = 0;
    double exposed = 0;
    void add(const Sums& other);
    NLOHMANN_DEFINE_TYPE_INTRUSIVE(Sums, loss, wrong, samples, seconds, exposed)
  };

  void train_batch(const TrainingEvents& events);
  Sums accumulate();
  std::int64_t batches_per_epoch() const;
  /// Of the present one, all ranks.
  std::int64_t size_of_batch() const;
  /// Of the step `ahead` of those done.
  void check_finite(double value, const char* what, std::int64_t ahead = 1) const;
  void check_weights() const;
  void report_step(const TrainingEvents& events, double learning_rate, double norm);
  bool end_epoch(const TrainingEvents& events);
  void save(const TrainingEvents& events);
  nlohmann::json state() const;
  void set_state(const nlohmann::json& state);
  bool must_shrink() const;
  bool out_of_patience() const;

  Placement placement_;
  std::unique_ptr<Objective> objective_;
  Network* network_ = nullptr;  ///< what is trained, if it is one
  const LabelledSamples& training_;
  const LabelledSamples* validation_;
  TrainerOptions options_;
  double start_;
  DataParallelStep parallel_;
  std::optional<ProximalTraining> proximal_;
  std::int64_t piece_ = 0;  ///< samples of all ranks that are passed at once
  std::unique_ptr<BatchStream> stream_;
  TreeTimer timer_;

  // Where training stands; with parameters and moments this is what a checkpoint holds.
  std::int64_t step_ = 0;
  std::int64_t epoch_ = 0;
  std::int64_t batch_ = 0;
  Sums epoch_sums_;
  std::vector<double> epoch_losses_;
  std::optional<double> best_accuracy_;
  std::int64_t best_epoch_ = 0;
  NamedTensors best_;

  Sums line_sums_;
  bool stop_ = false;
  bool interval_is_over_ = true;
  double saved_at_;
  std::int64_t saved_step_ = -1;
  bool save_first_ = false;  ///< a checkpoint was due when the network shrank
};

}  // namespace eigenscale
