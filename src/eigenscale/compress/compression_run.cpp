#include "eigenscale/compress/compression_run.h"

#include <c10/util/accumulate.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/finite.h"
#include "eigenscale/compress/compression_report.h"
#include "eigenscale/compress/factorization.h"
#include "eigenscale/compress/latency.h"
#include "eigenscale/compress/neuron_removal.h"
#include "eigenscale/compress/onnx_export.h"
#include "eigenscale/compress/output_difference.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/random.h"
#include "eigenscale/core/shape_text.h"
#include "eigenscale/data/labelled_samples.h"
#include "eigenscale/nn/network_specification.h"
#include "eigenscale/train/trainer.h"

namespace eigenscale {
namespace {

using Json = nlohmann::json;

constexpr double kLargestDifference = 1e-5;
constexpr std::int64_t kVerificationSamples = 64;
constexpr double kLatencySeconds = 0.5;

class CompressionRun {
 public:
  CompressionRun(const Communicator& world, const RunOptions& run,
                 const CompressionRunOptions& options)
      : world_(world), options_(options), run_(world, run) {}

  void run() {
    run_.phase("read");
    on_all_ranks(world_, [&] {
      original_ = read_model(options_.model);
      make_network(world_, original_, torch::kFloat32,
                   std::filesystem::path(options_.model) / "model.safetensors");
      if (options_.onnx) {
        require_onnx_operators(original_);  // what cannot be exported is said before the work
      }
    });
    choose_scale();
    model_ = original_;
    validation_ = read_samples(options_.validation_data, options_.validation_labels);
    if (options_.fine_tune_epochs > 0) {
      training_ = read_samples(options_.data, options_.labels);
    }
    const std::filesystem::path model = options_.model;
    run_.claim({.inputs = {model / "model.json", model / "model.safetensors", options_.data,
                           options_.labels, options_.validation_data, options_.validation_labels},
                .outputs = {"model.safetensors", "model.json", "model.onnx", "model.onnx.data"}});
    choose_samples();
    outputs_ = double_outputs(world_, original_, samples_);
    require_finite(world_, outputs_, "the answer of the model in '" + options_.model + "'",
                   "look at its weights and at --scale. Nothing was written");
    run_.phase("compress");
    remove();
    if (options_.energy) {
      factorize_layers();
    }
    if (options_.fine_tune_epochs > 0) {
      run_.phase("fine-tune");
      fine_tune();
    }
    run_.phase("measure");
    measure();
    run_.phase("write");
    write();
  }

 private:
  std::optional<LabelledSamples> read_samples(const std::string& data, const std::string& labels) {
    if (data.empty()) {
      return {};
    }
    auto samples = load_labelled_samples(world_, data, labels);
    const auto shape = original_.specification["input"].get<std::vector<std::int64_t>>();
    on_all_ranks(world_, [&] {
      if (c10::multiply_integers(samples.shape) != c10::multiply_integers(shape)) {
        throw InputError("the samples of '" + data + "' have shape " + shape_text(samples.shape) +
                         " but the network takes " + shape_text(shape));
      }
    });
    samples.shape = shape;
    require_labels_below(world_, samples, specification_outputs(original_.specification));
    return samples;
  }

  /// The smaller model is for the same data: it says the same.
  void choose_scale() {
    const bool says = original_.specification.contains("scale");
    const double own = specification_scale(original_.specification);
    scale_ = options_.scale.value_or(own);
    if (says && scale_ != own) {
      run_.warn(format_text("the model was trained with --scale {}; this run has --scale {}", own,
                            scale_));
    }
    if (options_.scale) {
      original_.specification["scale"] = scale_;
    }
  }

  /// What outputs are compared on: the first validation samples of all, or noise without any; the
  /// same ones on every rank, so that no figure depends on how many there are.
  void choose_samples() {
    const auto shape = original_.specification["input"].get<std::vector<std::int64_t>>();
    if (validation_) {
      const auto count = std::min(kVerificationSamples, validation_->count());
      samples_ = torch::zeros({count, c10::multiply_integers(shape)}, torch::kFloat64);
      const auto own = validation_->partition.range(world_.rank());
      const auto held = std::min(own.end, count) - own.begin;
      if (held > 0) {
        const auto rows = validation_->rows.narrow(0, 0, held).reshape({held, -1});
        samples_.narrow(0, own.begin, held).copy_(rows.to(torch::kFloat64) * scale_);
      }
      world_.all_reduce(samples_);
      return;
    }
    const CounterRandom random(options_.seed, "verification");
    samples_ = torch::empty({kVerificationSamples, c10::multiply_integers(shape)}, torch::kFloat64);
    auto* values = samples_.data_ptr<double>();
    for (std::int64_t i = 0; i < samples_.numel(); ++i) {
      values[i] = random.normal(static_cast<std::uint64_t>(i));
    }
  }

  /// [collective] The difference of a model from the original; what all ranks decide by. Ends the
  /// run when a weight or an output of `what` overflowed.
  OutputDifference difference(const SavedModel& model, const std::string& what) const {
    const std::string advice = "its numbers grew too large. Nothing was written";
    for (const auto& [name, tensor] : model.tensors) {
      require_finite(world_, tensor.detach(), "'" + name + "' of " + what, advice);
    }
    const auto outputs = double_outputs(world_, model, samples_);
    require_finite(world_, outputs, "the answer of " + what, advice);
    const auto own = output_difference(outputs_, outputs);
    return {all_reduce(world_, own.largest, ReduceOp::kMax),
            all_reduce(world_, own.scale, ReduceOp::kMax),
            all_reduce(world_, own.changed, ReduceOp::kMax)};
  }

  void remove() {
    removed_ = options_.keep_neurons ? remove_smallest_neurons(model_, *options_.keep_neurons)
                                     : remove_dead_neurons(model_);
    for (const auto& one : removed_) {
      log_info("{}: {} of {} neurons stay", one.layer, one.after, one.before);
    }
    after_removal_ = difference(model_, "the network without these neurons");
    if (!options_.keep_neurons && !(after_removal_.relative() <= kLargestDifference)) {
      throw Error(ExitCode::kNumerical,
                  format_text("taking out dead neurons changed the outputs by {:.2g} of the "
                              "largest; expected at most {:.0g}. Nothing was written",
                              after_removal_.relative(), kLargestDifference),
                  /*agreed=*/true);
    }
    log_info("outputs differ by {:.2g} of the largest", after_removal_.relative());
  }

  void factorize_layers() {
    ranks_ = factorize(model_, *options_.energy);
    for (const auto& one : ranks_) {
      log_info("{}: rank {} of {} holds the energy; {}", one.layer, one.rank, one.full,
               one.factorized ? "factorised" : "left, since two layers would not be smaller");
    }
    after_factorization_ = difference(model_, "the factorised network");
    log_info("outputs differ by {:.2g} of the largest", after_factorization_->relative());
  }

  void fine_tune() {
    const auto network = make_network(world_, model_, torch::kFloat32, "the smaller network");
    TrainerOptions options;
    options.epochs = options_.fine_tune_epochs;
    options.batches = {.batch_size = options_.batch_size,
                       .seed = options_.seed,
                       .type = torch::kFloat32,
                       .scale = scale_,
                       .augmentation = {}};
    options.optimizer.kind = OptimizerOptions::Kind::kSgd;
    options.learning_rate.kind = LearningRateSchedule::Kind::kCosine;
    options.learning_rate.base = options_.learning_rate;
    options.learning_rate.epochs = static_cast<double>(options_.fine_tune_epochs);
    const double before = evaluate(world_, *network, *training_, scale_).loss;
    Trainer trainer(world_, *network, *training_, nullptr, options);
    TrainingEvents events;
    events.step = [&](const StepReport& step) {
      const std::int64_t batch = options_.batch_size;
      run_.progress("fine-tune", (training_->count() + batch - 1) / batch * options.epochs,
                    step.step, format_text("loss {:.4f}", step.loss));
    };
    events.epoch = [this](const TrainingEpoch& epoch) {
      run_.interrupt_progress();
      log_info("epoch {:>3}: loss {:.4f}, error {:.4f} ({:.1f} s)", epoch.epoch,
               epoch.training_loss, epoch.training_error, epoch.seconds);
    };
    double after = std::numeric_limits<double>::quiet_NaN();
    try {
      trainer.run(events);
      after = evaluate(world_, *network, *training_, scale_).loss;
    } catch (const Error& error) {
      if (error.exit_code() != ExitCode::kNumerical || !error.agreed()) {
        throw;
      }
    }
    if (std::isfinite(after) && after <= before) {
      model_.tensors = trainer.best_model();
      return;
    }
    run_.warn(format_text(
        "fine-tuning {}; the network from before it is kept. Lower --learning-rate {:g}",
        std::isfinite(after)
            ? format_text("raised the loss on --data from {:.4g} to {:.4g}", before, after)
            : "ended in a loss that is not finite",
        options_.learning_rate));
  }

  Json sizes(const SavedModel& model, const std::string& what) {
    const auto network = make_network(world_, model, torch::kFloat32, "the network");
    Json result = {{"parameters", model.parameter_count()},
                   {"flops", specification_flops(model.specification)},
                   {"bytes", model.bytes()}};
    if (validation_) {
      const auto evaluation = evaluate(world_, *network, *validation_, scale_);
      if (!std::isfinite(evaluation.loss)) {
        throw Error(ExitCode::kNumerical,
                    "the loss of " + what +
                        " on --validation-data is not finite in single precision. Nothing was "
                        "written",
                    /*agreed=*/true);
      }
      result["accuracy"] = evaluation.accuracy;
      result["loss"] = evaluation.loss;
    }
    for (const std::int64_t batch : {1, 256}) {
      result["latency"][std::to_string(batch)] =
          all_reduce(world_, forward_latency(*network, batch, kLatencySeconds), ReduceOp::kMax);
    }
    return result;
  }

  void measure() {
    metrics_ = sizes(model_, "the smaller network");
    metrics_["before"] = sizes(original_, "the original network");
    metrics_["difference"] = {{"removal", after_removal_.relative()}};
    if (after_factorization_) {
      metrics_["difference"]["factorization"] = after_factorization_->relative();
    }
    metrics_["difference"]["changed_predictions"] =
        difference(model_, "the smaller network").changed;
    if (options_.onnx && model_.is_double()) {
      const auto change =
          difference(in_single_precision(model_), "the network in single precision").relative();
      metrics_["difference"]["onnx"] = change;
      run_.warn(
          format_text("model.onnx holds the weights of this double model in single precision; its "
                      "outputs differ from the original's by {:.2g} of the largest",
                      change));
    }
    metrics_["layers"] = Json::array();
    for (const auto& one : removed_) {
      metrics_["layers"].push_back(
          {{"name", one.layer}, {"neurons", one.before}, {"kept", one.after}});
    }
    metrics_["ranks"] = Json::array();
    for (const auto& one : ranks_) {
      metrics_["ranks"].push_back({{"name", one.layer},
                                   {"full", one.full},
                                   {"rank", one.rank},
                                   {"factorized", one.factorized}});
    }
  }

  void write() {
    on_first_rank(world_, [&] {
      write_model(run_.directory(), model_);
      if (options_.onnx) {
        write_onnx(run_.file("model.onnx"), model_);
      }
    });
    auto& summary = run_.summary();
    summary["metrics"] = metrics_;
    summary["choices"]["energy_of"] = "squared singular values";
    summary["choices"]["threads"] = torch::get_num_threads();
    const auto& before = metrics_["before"];
    log_info("{} of {} parameters, {:.3g} of {:.3g} MFLOP a sample",
             metrics_["parameters"].get<std::int64_t>(), before["parameters"].get<std::int64_t>(),
             metrics_["flops"].get<double>() / 1e6, before["flops"].get<double>() / 1e6);
    if (metrics_.contains("accuracy")) {
      log_info("accuracy {:.4f}, before {:.4f}", metrics_["accuracy"].get<double>(),
               before["accuracy"].get<double>());
    }
    run_.finish([&](const Json& whole) { return compression_report(options_.model, whole); });
  }

  const Communicator& world_;
  const CompressionRunOptions& options_;
  Run run_;
  double scale_ = 1;  ///< factor on every value of the data
  SavedModel original_;
  SavedModel model_;
  std::optional<LabelledSamples> validation_;
  std::optional<LabelledSamples> training_;
  torch::Tensor samples_;
  torch::Tensor outputs_;  ///< of the original on them
  std::vector<RemovedNeurons> removed_;
  std::vector<LayerRank> ranks_;
  OutputDifference after_removal_;
  std::optional<OutputDifference> after_factorization_;
  Json metrics_;
};

}  // namespace

ExitCode run_compression(const Communicator& world, const RunOptions& run,
                         const CompressionRunOptions& options) {
  CompressionRun(world, run, options).run();
  return ExitCode::kDone;
}

}  // namespace eigenscale
