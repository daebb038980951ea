#include "eigenscale/train/pretraining.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/train/data_parallel_step.h"
#include "eigenscale/train/plateau_rule.h"
#include "eigenscale/train/trainer.h"

namespace eigenscale {
namespace {

// The rows as the layers want them, samples as columns, in pieces of bounded size.
std::vector<torch::Tensor> column_chunks(const torch::Tensor& rows, std::int64_t chunk_rows) {
  std::vector<torch::Tensor> chunks;
  for (std::int64_t begin = 0; begin < rows.size(0); begin += chunk_rows) {
    const auto size = std::min(chunk_rows, rows.size(0) - begin);
    chunks.push_back(rows.narrow(0, begin, size).t().contiguous());
  }
  return chunks;
}

// Elements of all rows of all ranks.
double global_elements(const Communicator& communicator, const torch::Tensor& rows) {
  return static_cast<double>(all_reduce(communicator, rows.numel()));
}

torch::Tensor reconstruction_error(Autoencoder& autoencoder, const torch::Tensor& columns) {
  return autoencoder.decode_columns(autoencoder.encode_columns(columns)) - columns;
}

// Sum of squares in double: float would lose digits over millions of values.
double sum_of_squares(const torch::Tensor& error) {
  return error.square().sum(torch::kFloat64).item<double>();
}

/// One initialisation and how far its training has come.
class Trial {
 public:
  Trial(const Communicator& communicator, Autoencoder& autoencoder, std::int64_t initialization,
        const PretrainingOptions& options)
      : autoencoder_(autoencoder),
        options_(options),
        step_(communicator, autoencoder, {.adam = options.adam}),
        plateau_(options.minimum_improvement, options.plateau_window, options.plateau_first_epoch) {
    result_.last.initialization = initialization;
  }

  /// Trains to the end, or to `epochs` if that comes first.
  void run(const std::vector<torch::Tensor>& chunks, double elements, std::int64_t epochs,
           const std::function<bool(const EpochReport&)>& on_epoch) {
    while (result_.stopped_by.empty() && result_.last.epoch < epochs) {
      auto& last = result_.last;
      ++last.epoch;
      last.loss = step_.step([&] { return accumulate(chunks); });
      if (!std::isfinite(last.loss)) {
        throw Error(ExitCode::kNumerical,
                    "pre-training: the loss is not finite in epoch " + std::to_string(last.epoch) +
                        "; lower the learning rate or rescale the data",
                    /*agreed=*/true);
      }
      last.rmse = std::sqrt(2 * last.loss / elements);
      const bool go_on = !on_epoch || on_epoch(last);
      result_.stopped_by = stop_reason(plateau_.add(last.loss), go_on);
    }
  }

  const PretrainingResult& result() const { return result_; }

 private:
  double accumulate(const std::vector<torch::Tensor>& chunks) {
    double local = 0;
    for (const auto& columns : chunks) {
      const auto error = reconstruction_error(autoencoder_, columns);
      local += 0.5 * sum_of_squares(error.detach());
      // d/dXr of 1/2 ||Xr - X||^2 is the error itself: no loss graph is needed.
      error.backward(error.detach());
    }
    return local;
  }

  std::string stop_reason(bool plateau, bool go_on) const {
    if (!go_on) {
      return "request";
    }
    if (result_.last.rmse <= options_.target_rmse) {
      return "target RMSE";
    }
    if (plateau && options_.stop_on_plateau) {
      return "plateau";
    }
    return result_.last.epoch == options_.max_epochs ? "epochs" : "";
  }

  Autoencoder& autoencoder_;
  const PretrainingOptions& options_;
  DataParallelStep step_;
  PlateauRule plateau_;
  PretrainingResult result_;
};

PretrainingResult pretrain_by_batches(const Communicator& communicator, Autoencoder& autoencoder,
                                      const torch::Tensor& rows, const PretrainingOptions& options,
                                      const std::function<bool(const EpochReport&)>& on_epoch) {
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
  Trainer trainer(communicator, std::make_unique<Reconstruction>(autoencoder), samples, nullptr,
                  training);
  PretrainingResult result;
  TrainingEvents events;
  events.enough = [&](const TrainingEpoch& epoch) {
    result.last = {.initialization = 0,
                   .epoch = epoch.epoch,
                   .loss = epoch.training_loss * count * features,
                   .rmse = std::sqrt(2 * epoch.training_loss)};
    const bool go_on = !on_epoch || on_epoch(result.last);
    if (!go_on) {
      result.stopped_by = "request";
    } else if (result.last.rmse <= options.target_rmse) {
      result.stopped_by = "target RMSE";
    }
    return !result.stopped_by.empty();
  };
  trainer.run(events);
  if (result.stopped_by.empty()) {
    result.stopped_by = by_steps ? "steps" : "epochs";
  }
  return result;
}

}  // namespace

PretrainingResult pretrain(const Communicator& communicator, Autoencoder& autoencoder,
                           const torch::Tensor& rows, const PretrainingOptions& options,
                           const std::function<bool(const EpochReport&)>& on_epoch) {
  if (autoencoder.parameters().empty() || options.max_epochs < 1) {
    return {{}, autoencoder.parameters().empty() ? "no parameters" : "epochs"};
  }
  if (options.batch_size > 0) {
    return pretrain_by_batches(communicator, autoencoder, rows, options, on_epoch);
  }
  const double elements = global_elements(communicator, rows);
  const auto chunks = column_chunks(rows, options.chunk_rows);
  std::unique_ptr<Autoencoder> leading_network;
  auto leader = std::make_unique<Trial>(communicator, autoencoder, 0, options);
  const bool competition = options.initializations > 1;
  leader->run(chunks, elements, competition ? options.trial_epochs : options.max_epochs, on_epoch);
  for (std::int64_t i = 1; i < options.initializations && leader->result().stopped_by.empty();
       ++i) {
    auto network = std::make_unique<Autoencoder>(autoencoder.specification(),
                                                 autoencoder.precision(), options.seed, i);
    auto trial = std::make_unique<Trial>(communicator, *network, i, options);
    trial->run(chunks, elements, options.trial_epochs, on_epoch);
    if (trial->result().last.loss < leader->result().last.loss) {
      leader = std::move(trial);
      leading_network = std::move(network);
    }
  }
  leader->run(chunks, elements, options.max_epochs, on_epoch);
  if (leading_network != nullptr) {
    const torch::NoGradGuard no_grad;
    const auto from = leading_network->parameters();
    auto to = autoencoder.parameters();
    for (std::size_t i = 0; i < to.size(); ++i) {
      to[i].copy_(from[i]);
    }
  }
  return leader->result();
}

double reconstruction_rmse(const Communicator& communicator, Autoencoder& autoencoder,
                           const torch::Tensor& rows, std::int64_t chunk_rows) {
  torch::NoGradGuard no_grad;
  double squares = 0;
  for (const auto& columns : column_chunks(rows, chunk_rows)) {
    squares += sum_of_squares(reconstruction_error(autoencoder, columns));
  }
  return std::sqrt(all_reduce(communicator, squares) / global_elements(communicator, rows));
}

}  // namespace eigenscale
