#include "eigenscale/compress/compression_run.h"

#include <c10/util/accumulate.h>
#include <spdlog/fmt/fmt.h>

#include <algorithm>
#include <memory>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/compress/compression_report.h"
#include "eigenscale/compress/factorization.h"
#include "eigenscale/compress/latency.h"
#include "eigenscale/compress/neuron_removal.h"
#include "eigenscale/compress/onnx_export.h"
#include "eigenscale/compress/output_difference.h"
#include "eigenscale/core/atomic_file.h"
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
        onnx_model(original_);  // what cannot be exported is said before the work
      }
    });
    model_ = original_;
    validation_ = read_samples(options_.validation_data, options_.validation_labels);
    if (options_.fine_tune_epochs > 0) {
      training_ = read_samples(options_.data, options_.labels);
    }
    const std::filesystem::path model = options_.model;
    run_.claim({.inputs = {model / "model.json", model / "model.safetensors", options_.data,
                           options_.labels, options_.validation_data, options_.validation_labels},
                .outputs = {"model.safetensors", "model.json", "model.onnx"}});
    choose_samples();
    outputs_ = double_outputs(world_, original_, samples_);
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

  /// What outputs are compared on: validation samples where this rank has some, else noise.
  void choose_samples() {
    if (validation_ && validation_->rows.size(0) > 0) {
      const auto count = std::min(kVerificationSamples, validation_->rows.size(0));
      samples_ = validation_->rows.narrow(0, 0, count).to(torch::kFloat64) * options_.scale;
      return;
    }
    const auto shape = original_.specification["input"].get<std::vector<std::int64_t>>();
    const CounterRandom random(options_.seed, "verification");
    samples_ = torch::empty({kVerificationSamples, c10::multiply_integers(shape)}, torch::kFloat64);
    auto* values = samples_.data_ptr<double>();
    for (std::int64_t i = 0; i < samples_.numel(); ++i) {
      values[i] = random.normal(static_cast<std::uint64_t>(i));
    }
  }

  /// [collective] Of all ranks' samples the largest difference from the original.
  OutputDifference difference() const {
    const auto own = output_difference(outputs_, double_outputs(world_, model_, samples_));
    return {all_reduce(world_, own.largest, ReduceOp::kMax),
            all_reduce(world_, own.scale, ReduceOp::kMax),
            all_reduce(world_, own.changed, ReduceOp::kMax)};
  }

  void remove() {
    removed_ = options_.keep_neurons ? remove_smallest_neurons(model_, *options_.keep_neurons)
                                     : remove_dead_neurons(model_);
    for (const auto& one : removed_) {
      spdlog::info("{}: {} of {} neurons stay", one.layer, one.after, one.before);
    }
    after_removal_ = difference();
    if (!options_.keep_neurons && !(after_removal_.relative() <= kLargestDifference)) {
      throw Error(ExitCode::kNumerical,
                  fmt::format("taking out dead neurons changed the outputs by {:.2g} of the "
                              "largest; expected at most {:.0g}. Nothing was written",
                              after_removal_.relative(), kLargestDifference),
                  /*agreed=*/true);
    }
    spdlog::info("outputs differ by {:.2g} of the largest", after_removal_.relative());
  }

  void factorize_layers() {
    ranks_ = factorize(model_, *options_.energy);
    for (const auto& one : ranks_) {
      spdlog::info("{}: rank {} of {} holds the energy; {}", one.layer, one.rank, one.full,
                   one.factorized ? "factorised" : "left, since two layers would not be smaller");
    }
    after_factorization_ = difference();
    spdlog::info("outputs differ by {:.2g} of the largest", after_factorization_->relative());
  }

  void fine_tune() {
    const auto network = make_network(world_, model_, torch::kFloat32, "the smaller network");
    TrainerOptions options;
    options.epochs = options_.fine_tune_epochs;
    options.batches = {.batch_size = options_.batch_size,
                       .seed = options_.seed,
                       .type = torch::kFloat32,
                       .scale = options_.scale,
                       .augmentation = {}};
    options.optimizer.kind = OptimizerOptions::Kind::kSgd;
    options.learning_rate.kind = LearningRateSchedule::Kind::kCosine;
    options.learning_rate.base = options_.learning_rate;
    options.learning_rate.epochs = static_cast<double>(options_.fine_tune_epochs);
    const double before = evaluate(world_, *network, *training_, options_.scale).loss;
    Trainer trainer(world_, *network, *training_, nullptr, options);
    TrainingEvents events;
    events.step = [&](const StepReport& step) {
      const std::int64_t batch = options_.batch_size;
      run_.progress("fine-tune", (training_->count() + batch - 1) / batch * options.epochs,
                    step.step, fmt::format("loss {:.4f}", step.loss));
    };
    events.epoch = [this](const TrainingEpoch& epoch) {
      run_.interrupt_progress();
      spdlog::info("epoch {:>3}: loss {:.4f}, error {:.4f} ({:.1f} s)", epoch.epoch,
                   epoch.training_loss, epoch.training_error, epoch.seconds);
    };
    trainer.run(events);
    const double after = evaluate(world_, *network, *training_, options_.scale).loss;
    if (after > before) {
      run_.warn(
          fmt::format("fine-tuning raised the loss on --data from {:.4g} to {:.4g}; the network "
                      "from before it is kept. Lower --learning-rate {:g}",
                      before, after, options_.learning_rate));
      return;
    }
    model_.tensors = trainer.best_model();
  }

  Json sizes(const SavedModel& model) {
    const auto network = make_network(world_, model, torch::kFloat32, "the network");
    Json result = {{"parameters", model.parameter_count()},
                   {"flops", specification_flops(model.specification)},
                   {"bytes", model.bytes()}};
    if (validation_) {
      const auto evaluation = evaluate(world_, *network, *validation_, options_.scale);
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
    metrics_ = sizes(model_);
    metrics_["before"] = sizes(original_);
    metrics_["difference"] = {{"removal", after_removal_.relative()}};
    if (after_factorization_) {
      metrics_["difference"]["factorization"] = after_factorization_->relative();
    }
    metrics_["difference"]["changed_predictions"] = difference().changed;
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
        AtomicFile file(run_.file("model.onnx"));
        file.write(onnx_model(model_));
        file.commit();
      }
    });
    auto& summary = run_.summary();
    summary["metrics"] = metrics_;
    summary["choices"]["energy_of"] = "squared singular values";
    summary["choices"]["threads"] = torch::get_num_threads();
    const auto& before = metrics_["before"];
    spdlog::info("{} of {} parameters, {:.3g} of {:.3g} MFLOP a sample",
                 metrics_["parameters"].get<std::int64_t>(),
                 before["parameters"].get<std::int64_t>(), metrics_["flops"].get<double>() / 1e6,
                 before["flops"].get<double>() / 1e6);
    if (metrics_.contains("accuracy")) {
      spdlog::info("accuracy {:.4f}, before {:.4f}", metrics_["accuracy"].get<double>(),
                   before["accuracy"].get<double>());
    }
    run_.finish([&](const Json& whole) { return compression_report(options_.model, whole); });
  }

  const Communicator& world_;
  const CompressionRunOptions& options_;
  Run run_;
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
