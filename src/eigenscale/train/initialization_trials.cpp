#include "eigenscale/train/initialization_trials.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/stop_signals.h"
#include "eigenscale/data/snapshot.h"
#include "eigenscale/train/data_parallel_step.h"
#include "eigenscale/train/plateau_rule.h"

namespace eigenscale {
namespace {

const SnapshotKind kEpoch = {"eigenscale-pretraining", 1, "epoch"};

}  // namespace

std::vector<torch::Tensor> reconstruction_chunks(const torch::Tensor& rows,
                                                 std::int64_t chunk_rows) {
  std::vector<torch::Tensor> chunks;
  for (std::int64_t begin = 0; begin < rows.size(0); begin += chunk_rows) {
    const auto size = std::min(chunk_rows, rows.size(0) - begin);
    chunks.push_back(rows.narrow(0, begin, size).t().contiguous());
  }
  return chunks;
}

torch::Tensor reconstruction_error(Autoencoder& autoencoder, const torch::Tensor& columns) {
  return autoencoder.decode_columns(autoencoder.encode_columns(columns)) - columns;
}

/// One initialisation and how far its training has come.
class InitializationTrials::Trial {
 public:
  /// [collective] Initialisation 0 is that of `given`, which it trains; others are networks of
  /// their own.
  Trial(const Communicator& communicator, Autoencoder& given, std::int64_t initialization,
        const PretrainingOptions& options)
      : own_(initialization == 0
                 ? nullptr
                 : std::make_unique<Autoencoder>(given.specification(), given.precision(),
                                                 options.seed, initialization)),
        network_(own_ ? *own_ : given),
        options_(options),
        step_(communicator, network_, {.adam = options.adam}),
        plateau_(options.minimum_improvement, options.plateau_window, options.plateau_first_epoch) {
    result_.last.initialization = initialization;
  }

  const PretrainingResult& result() const { return result_; }
  bool is_over() const { return !result_.stopped_by.empty(); }
  void end(const std::string& reason) { result_.stopped_by = reason; }

  void epoch(const std::vector<torch::Tensor>& chunks, double elements) {
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
    result_.stopped_by = stop_reason(plateau_.add(last.loss));
  }

  void copy_weights_to(Autoencoder& other) const {
    const torch::NoGradGuard no_grad;
    const auto from = network_.parameters();
    auto to = other.parameters();
    for (std::size_t i = 0; i < to.size(); ++i) {
      to[i].copy_(from[i]);
    }
  }

  nlohmann::json state() {
    return {{"initialization", result_.last.initialization},
            {"epoch", result_.last.epoch},
            {"loss", result_.last.loss},
            {"rmse", result_.last.rmse},
            {"plateau", plateau_},
            {"bucket_order", step_.reducer().order()},
            {"bucket_order_is_final", step_.reducer().order_is_final()}};
  }

  void add_tensors(const std::string& prefix, NamedTensors& all) {
    for (const auto& [name, tensor] : named_parameters(network_)) {
      all[prefix + "weights/" + name] = tensor.detach();
    }
    const auto& moments = step_.optimizer().moments();
    for (std::size_t i = 0; i < moments.size(); ++i) {
      all[prefix + "moment/" + std::to_string(i)] = moments[i];
    }
  }

  void restore(const nlohmann::json& state, const std::string& prefix, const NamedTensors& all,
               const std::filesystem::path& path) {
    auto& last = result_.last;
    state.at("epoch").get_to(last.epoch);
    state.at("loss").get_to(last.loss);
    state.at("rmse").get_to(last.rmse);
    state.at("plateau").get_to(plateau_);
    NamedTensors weights;
    for (const auto& [name, tensor] : all) {
      if (name.starts_with(prefix + "weights/")) {
        weights[name.substr(prefix.size() + 8)] = tensor;
      }
    }
    load_parameters(network_, weights, path);
    const auto& moments = step_.optimizer().moments();
    for (std::size_t i = 0; i < moments.size(); ++i) {
      torch::Tensor(moments[i]).copy_(all.at(prefix + "moment/" + std::to_string(i)));
    }
    step_.optimizer().set_steps(last.epoch);
    step_.reducer().set_order(state.at("bucket_order"), state.at("bucket_order_is_final"));
  }

 private:
  double accumulate(const std::vector<torch::Tensor>& chunks) {
    double local = 0;
    for (const auto& columns : chunks) {
      const auto error = reconstruction_error(network_, columns);
      // In double: float would lose digits over millions of values.
      local += 0.5 * error.detach().square().sum(torch::kFloat64).item<double>();
      // d/dXr of 1/2 ||Xr - X||^2 is the error itself: no loss graph is needed.
      error.backward(error.detach());
    }
    return local;
  }

  std::string stop_reason(bool plateau) const {
    if (result_.last.rmse <= options_.target_rmse) {
      return "target RMSE";
    }
    if (plateau && options_.stop_on_plateau) {
      return "plateau";
    }
    return result_.last.epoch == options_.max_epochs ? "epochs" : "";
  }

  std::unique_ptr<Autoencoder> own_;
  Autoencoder& network_;
  const PretrainingOptions& options_;
  DataParallelStep step_;
  PlateauRule plateau_;
  PretrainingResult result_;
};

InitializationTrials::InitializationTrials(const Communicator& communicator,
                                           Autoencoder& autoencoder, const torch::Tensor& rows,
                                           const PretrainingOptions& options,
                                           const std::function<bool(const EpochReport&)>& on_epoch)
    : communicator_(communicator),
      autoencoder_(autoencoder),
      options_(options),
      on_epoch_(on_epoch),
      chunks_(reconstruction_chunks(rows, options.chunk_rows)),
      elements_(static_cast<double>(all_reduce(communicator, rows.numel()))),
      begin_(now_seconds()),
      saved_(begin_) {}

InitializationTrials::~InitializationTrials() = default;

PretrainingResult InitializationTrials::run() {
  const bool competition = options_.initializations > 1;
  std::int64_t next = restore();
  const auto over = [&] { return leader_ != nullptr && leader_->is_over(); };
  while (next < std::max<std::int64_t>(1, options_.initializations) && !over()) {
    if (contender_ == nullptr) {
      contender_ = begin(next);
    }
    train(*contender_, competition ? options_.trial_epochs : options_.max_epochs);
    if (contender_->result().stopped_by == "request") {
      return contender_->result();
    }
    if (leader_ == nullptr || contender_->result().last.loss < leader_->result().last.loss) {
      leader_ = std::move(contender_);
    }
    contender_.reset();
    ++next;
  }
  train(*leader_, options_.max_epochs);
  if (leader_->result().last.initialization != 0) {
    leader_->copy_weights_to(autoencoder_);
  }
  return leader_->result();
}

std::unique_ptr<InitializationTrials::Trial> InitializationTrials::begin(
    std::int64_t initialization) {
  return std::make_unique<Trial>(communicator_, autoencoder_, initialization, options_);
}

/// To the end, or to `epochs` if that comes first.
void InitializationTrials::train(Trial& trial, std::int64_t epochs) {
  while (!trial.is_over() && trial.result().last.epoch < epochs) {
    trial.epoch(chunks_, elements_);
    ++epochs_;
    const bool enough = on_epoch_ && !on_epoch_(trial.result().last);
    if (enough || (!trial.is_over() && stop_or_save(trial))) {
      trial.end("request");
    }
  }
}

/// Whether it was asked to stop, with a checkpoint.
bool InitializationTrials::stop_or_save(const Trial& trial) {
  const auto& checkpoints = options_.checkpoints;
  if (checkpoints.directory.empty()) {
    return false;
  }
  auto wanted = torch::tensor({stop_is_due(begin_, checkpoints.time_limit) ? 1.0 : 0.0,
                               now_seconds() - saved_ >= checkpoints.interval ? 1.0 : 0.0},
                              torch::kFloat64);
  communicator_.all_reduce(wanted);
  const bool stop = wanted[0].item<double>() > 0;
  if (stop || wanted[1].item<double>() > 0) {
    save(trial);
    saved_ = now_seconds();
  }
  return stop;
}

void InitializationTrials::save(const Trial& trial) const {
  options_.checkpoints.before_save();
  SnapshotWriter writer(communicator_, kEpoch, options_.checkpoints.directory, epochs_);
  writer.write_files([&](const std::filesystem::path& folder) {
    nlohmann::json state = nlohmann::json::object();
    NamedTensors tensors;
    for (const auto& [name, one] :
         {std::pair("leader", leader_.get()), std::pair("contender", contender_.get())}) {
      if (one != nullptr) {
        state[name] = one->state();
        one->add_tensors(std::string(name) + "/", tensors);
      }
    }
    state["next"] = contender_ != nullptr ? trial.result().last.initialization
                                          : std::max<std::int64_t>(1, options_.initializations);
    write_safetensors(folder / "trials.safetensors", tensors);
    write_file(folder / "state.json", state.dump(1) + "\n");
  });
  writer.publish(2);
}

/// The next initialisation to be tried, or to go on in its trial.
std::int64_t InitializationTrials::restore() {
  const auto& checkpoints = options_.checkpoints;
  const auto newest = checkpoints.resume
                          ? newest_snapshot(communicator_, kEpoch, checkpoints.directory)
                          : std::nullopt;
  if (!newest) {
    return 0;
  }
  verify_snapshot(communicator_, kEpoch, *newest);
  nlohmann::json state;
  NamedTensors tensors;
  on_all_ranks(communicator_, [&] {
    std::ifstream file(*newest / "state.json");
    state = nlohmann::json::parse(file);
    tensors = read_safetensors(*newest / "trials.safetensors");
  });
  for (const auto& [name, trial] :
       {std::pair("leader", &leader_), std::pair("contender", &contender_)}) {
    if (state.contains(name)) {
      *trial = begin(state[name].at("initialization"));
      (*trial)->restore(state[name], std::string(name) + "/", tensors, *newest);
    }
  }
  epochs_ = snapshot_number(kEpoch, *newest).value_or(0);
  log_info("pre-training goes on from {}", newest->string());
  return state.at("next");
}

std::int64_t InitializationTrials::epochs_done(const Communicator& communicator,
                                               const std::filesystem::path& directory) {
  const auto newest = newest_snapshot(communicator, kEpoch, directory);
  return newest ? snapshot_number(kEpoch, *newest).value_or(0) : 0;
}

}  // namespace eigenscale
