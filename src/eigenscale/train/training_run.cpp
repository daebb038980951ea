#include "eigenscale/train/training_run.h"

#include <c10/util/accumulate.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/comm/placement.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/memory.h"
#include "eigenscale/core/shape_text.h"
#include "eigenscale/linalg/symmetric_eigen.h"
#include "eigenscale/nn/network_specification.h"
#include "eigenscale/nn/saved_model.h"
#include "eigenscale/train/training_network.h"
#include "eigenscale/train/training_report.h"

namespace eigenscale {
namespace {

/// conv1 12/32, linear1 40/512 (rank 7)
std::string sizes_in_words(const std::vector<LayerSize>& layers) {
  std::string text;
  for (const auto& layer : layers) {
    text +=
        format_text("{}{} {}/{}", text.empty() ? "" : ", ", layer.name, layer.live, layer.neurons);
    text += layer.rank ? format_text(" (rank {})", *layer.rank) : "";
  }
  return text;
}

/// Whether there is a layer of this kind in any depth.
bool has_kind(const nlohmann::json& specification, const std::string& kind) {
  if (specification.is_object() && specification.value("kind", nlohmann::json()) == kind) {
    return true;
  }
  return specification.is_structured() &&
         std::any_of(specification.begin(), specification.end(),
                     [&](const nlohmann::json& part) { return has_kind(part, kind); });
}

/// One run: owns what all phases write to.
class TrainingRun {
 public:
  TrainingRun(const Communicator& world, const RunOptions& run, const TrainingRunOptions& options)
      : world_(world), options_(options), begin_(now_seconds()), run_(world, run) {
    keep_freed_memory();
    at::globalContext().setAllowTF32CuDNN(options.tf32);
    at::globalContext().setAllowTF32CuBLAS(options.tf32);
  }

  ExitCode run() {
    run_.phase("read");
    training_ = load_labelled_samples(world_, options_.data, options_.labels);
    if (!options_.validation_data.empty()) {
      validation_ =
          load_labelled_samples(world_, options_.validation_data, options_.validation_labels);
    }
    const auto specification = make_specification();
    check_data(specification);
    run_.claim({.inputs = {options_.data, options_.labels, options_.validation_data,
                           options_.validation_labels, options_.network},
                .outputs = {"model.safetensors", "model.json", "checkpoints"}});
    const auto newest = find_checkpoint();
    make_trainer(specification, newest ? specification_of(*newest, specification) : specification);
    resume(*trainer_, newest);
    describe(*network_, *trainer_);

    run_.phase("train");
    auto end = trainer_->run(events());
    while (end == TrainingEnd::kShrink) {
      const auto shrunk = trainer_->shrink();
      make_trainer(specification, shrunk.model.specification);
      trainer_->adopt(shrunk);
      report_shrinking(shrunk.removed);
      end = trainer_->run(events());
    }
    if (end == TrainingEnd::kStopped) {
      run_.stop();
      log_info(
          "stopped on request after step {} with a complete checkpoint in {}; --resume "
          "goes on",
          trainer_->steps(), run_.file("checkpoints").string());
      return ExitCode::kStopped;
    }
    finish(*network_, *trainer_, end);
    return ExitCode::kDone;
  }

 private:
  Placement placement() const { return run_.placement(); }

  /// [collective] A network of `specification`, and a trainer for it in a run that began with
  /// `initial`.
  void make_trainer(const nlohmann::json& initial, const nlohmann::json& specification) {
    auto options = options_.trainer;
    options.checkpoints = run_.file("checkpoints");
    options.initial_specification = initial;
    if (options.time_limit > 0) {  // of the run: reading counts
      options.time_limit = std::max(options.time_limit - (now_seconds() - begin_), 1e-9);
    }
    trainer_.reset();
    on_all_ranks(world_, [&] {  // its layers may not fit into memory
      network_ = std::make_unique<Network>(placement().data(), specification, options_.precision,
                                           options.batches.seed);
      if (placement().on_device()) {
        move_module(*network_, placement().device(), "network");
      }
    });
    trainer_ = std::make_unique<Trainer>(placement(), *network_, *training_,
                                         validation_ ? &*validation_ : nullptr, options);
  }

  std::optional<std::filesystem::path> find_checkpoint() const {
    return run_.options().resume ? newest_checkpoint(world_, run_.file("checkpoints"))
                                 : std::nullopt;
  }

  /// What shrinking had left of the network at a checkpoint.
  nlohmann::json specification_of(const std::filesystem::path& checkpoint,
                                  const nlohmann::json& initial) const {
    auto result = initial;
    if (options_.trainer.shrink_every > 0) {
      // What belongs to another run is named by restoring.
      const auto state = read_checkpoint(world_, checkpoint).state;
      const nlohmann::json::json_pointer setting("/setting/network");
      if (state.contains(setting) && state[setting] == initial && state.contains("network")) {
        result = state["network"];
      }
    }
    return result;
  }

  void report_shrinking(std::int64_t removed) {
    const auto parameters = network_->parameter_count();
    communication_seconds_ = trainer_->parallel().reducer().measure_communication();
    write({{"phase", "shrink"},
           {"step", trainer_->steps()},
           {"epoch", trainer_->epochs_done()},
           {"removed", removed},
           {"parameters", parameters}});
    log_info("  {} dead neurons leave: {} parameters, {:.3g} MFLOP a sample", removed, parameters,
             static_cast<double>(specification_flops(network_->specification())) / 1e6);
  }

  nlohmann::json make_specification() {
    const std::int64_t largest = largest_label(world_, *training_);
    nlohmann::json specification;
    on_all_ranks(world_, [&] {
      specification = training_network(options_, *training_, largest);
      const auto input = specification["input"].get<std::vector<std::int64_t>>();
      // So that augmentation sees images.
      training_->shape = input;
      const auto& augmentation = options_.trainer.batches.augmentation;
      if (augmentation.any() && training_->shape.size() != 3) {
        throw InputError("--crop and --flip need images, but the network's input has shape " +
                         shape_text(training_->shape));
      }
    });
    note_scale(specification);
    return specification;
  }

  /// What a trained model says of its data goes; this run's model says it anew.
  void note_scale(nlohmann::json& specification) {
    const double scale = options_.trainer.batches.scale;
    if (specification.contains("scale") && specification["scale"] != scale) {
      run_.warn(
          format_text("the model of '{}' was trained with --scale {}; this run has --scale {}",
                      options_.network, specification["scale"].get<double>(), scale));
    }
    specification.erase("scale");
    specification.erase("precision");
  }

  void check_data(const nlohmann::json& specification) {
    std::int64_t outputs = 0;
    on_all_ranks(world_, [&] {
      outputs = Network(world_, specification, options_.precision, std::nullopt).outputs();
    });
    require_labels_below(world_, *training_, outputs);
    on_all_ranks(world_, [&] {
      if (options_.trainer.batches.batch_size < world_.size()) {
        throw OptionError("--batch-size is " + std::to_string(options_.trainer.batches.batch_size) +
                          ", the samples of all ranks together, but there are " +
                          std::to_string(world_.size()) + " ranks");
      }
      if (validation_ &&
          c10::multiply_integers(validation_->shape) != c10::multiply_integers(training_->shape)) {
        throw InputError("the samples of '" + options_.validation_data + "' have shape " +
                         shape_text(validation_->shape) + ", those of '" + options_.data +
                         "' have " + shape_text(training_->shape));
      }
    });
    if (validation_) {
      require_labels_below(world_, *validation_, outputs);
    }
    const bool bytes = training_->rows.scalar_type() == torch::kUInt8;
    if (bytes && options_.trainer.batches.scale == 1) {
      run_.warn(
          "the samples are bytes of 0 to 255 and --scale is 1; --scale 0.00392157 brings them to "
          "0 to 1");
    }
  }

  void resume(Trainer& trainer, const std::optional<std::filesystem::path>& newest) {
    if (run_.options().resume) {
      if (newest) {
        trainer.restore(*newest);
        log_info("going on from {}: {} epochs and {} steps done", newest->string(),
                 trainer.epochs_done(), trainer.steps());
      } else {
        log_info("no checkpoint in {} yet: starting from the beginning",
                 run_.file("checkpoints").string());
      }
    }
    const std::int64_t done = trainer.steps();
    std::function<bool(const nlohmann::json&)> keep;
    if (newest) {
      keep = [this, done](const nlohmann::json& line) {
        const bool stays = line.value("step", std::int64_t{0}) <= done;
        if (stays) {
          history_.push_back(line);
        }
        return stays;
      };
    }
    run_.open_log(keep);
    communication_seconds_ = trainer.parallel().reducer().measure_communication();
  }

  void describe(const Network& network, Trainer& trainer) const {
    log_info(
        "{}: {} parameters, {:.3g} MFLOP a sample; {} samples, batches of {} on {} ranks, "
        "{} threads each; gradients in {} messages",
        options_.network, network.parameter_count(),
        static_cast<double>(specification_flops(network.specification())) / 1e6, training_->count(),
        options_.trainer.batches.batch_size, world_.size(), torch::get_num_threads(),
        trainer.parallel().reducer().buckets());
    const auto& specification = network.specification();
    if (placement().on_device() &&
        (has_kind(specification, "zca") || has_kind(specification, "pca-denoise"))) {
      log_info(
          "eigenproblems of fewer than {} channels go through the host's memory to LAPACK, others "
          "are solved on the GPU",
          kSmallestOnDevice);
    }
  }

  TrainingEvents events() {
    TrainingEvents events;
    events.before_save = [this] { run_.require_lock(); };
    events.step = [this](const StepReport& step) {
      write({{"phase", "train"},
             {"step", step.step},
             {"epoch", step.epoch},
             {"loss", step.loss},
             {"error", step.error},
             {"learning_rate", step.learning_rate},
             {"gradient_norm", step.gradient_norm},
             {"samples_per_second", step.samples_per_second},
             {"exposed_communication", step.exposed_communication},
             {"memory_bytes", current_memory_bytes()}});
      const std::int64_t batch = options_.trainer.batches.batch_size;
      const std::int64_t all = (training_->count() + batch - 1) / batch * options_.trainer.epochs;
      run_.progress("train", all, step.step,
                    format_text("epoch {} loss {:.4f} error {:.3f} {:.0f} samples/s", step.epoch,
                                step.loss, step.error, step.samples_per_second));
    };
    events.epoch = [this](const TrainingEpoch& epoch) {
      nlohmann::json line = {{"phase", "epoch"},
                             {"epoch", epoch.epoch},
                             {"step", epoch.step},
                             {"training_loss", epoch.training_loss},
                             {"training_error", epoch.training_error},
                             {"seconds", epoch.seconds}};
      std::string validation;
      if (epoch.validation_accuracy) {
        line["validation_loss"] = *epoch.validation_loss;
        line["validation_accuracy"] = *epoch.validation_accuracy;
        validation = format_text("; validation: loss {:.4f}, accuracy {:.4f}",
                                 *epoch.validation_loss, *epoch.validation_accuracy);
      }
      for (const auto& layer : epoch.layers) {
        nlohmann::json size = {
            {"name", layer.name}, {"neurons", layer.neurons}, {"live", layer.live}};
        if (layer.rank) {
          size["rank"] = *layer.rank;
        }
        line["layers"].push_back(size);
      }
      write(line);
      run_.interrupt_progress();
      log_info("epoch {:>3}: loss {:.4f}, error {:.4f}{} ({:.1f} s)", epoch.epoch,
               epoch.training_loss, epoch.training_error, validation, epoch.seconds);
      if (!epoch.layers.empty()) {
        log_info("  live neurons: {}", sizes_in_words(epoch.layers));
      }
    };
    events.warning = [this](const std::string& text) { run_.warn(text); };
    return events;
  }

  void write(const nlohmann::json& line) {
    run_.log(line);
    history_.push_back(line);
  }

  void finish(Network& network, Trainer& trainer, TrainingEnd end) {
    run_.phase("write");
    const auto model = trainer.best_model();
    on_all_ranks(world_, [&] { load_parameters(network, model, "the best model"); });
    auto specification = network.specification();
    specification["scale"] = options_.trainer.batches.scale;
    specification["precision"] = precision_name(network.precision());
    run_.require_lock();
    on_first_rank(world_, [&] { write_model(run_.directory(), {specification, model}); });
    auto& summary = run_.summary();
    auto& metrics = summary["metrics"];
    if (validation_) {
      const auto evaluation = trainer.evaluate(*validation_);
      metrics["accuracy"] = evaluation.accuracy;
      metrics["loss"] = evaluation.loss;
      summary["choices"]["best_epoch"] = trainer.best_epoch();
    }
    metrics["parameters"] = network.parameter_count();
    summary["timers"] = trainer.timer().reduce(world_);
    summary["choices"]["epochs"] = trainer.epochs_done();
    summary["choices"]["steps"] = trainer.steps();
    summary["choices"]["stopped_by"] = end == TrainingEnd::kPatience ? "patience" : "epochs";
    summary["choices"]["buckets"] = trainer.parallel().reducer().buckets();
    summary["communication"] = communication_summary(summary["timers"], communication_seconds_);
    announce(summary);
    run_.finish([&](const nlohmann::json& whole) {
      return training_report(options_.network, history_, whole);
    });
  }

  void announce(const nlohmann::json& summary) const {
    if (world_.size() > 1 && summary["communication"].contains("step")) {
      const auto& c = summary["communication"];
      log_info(
          "a step: forward {:.1f} ms, backward {:.1f}, waiting for gradients {:.1f}; their "
          "messages alone take {:.1f}, so forward and backward cannot be faster than {:.1f}",
          1e3 * c["forward"].get<double>(), 1e3 * c["backward"].get<double>(),
          1e3 * c["exposed"].get<double>(), 1e3 * c["alone"].get<double>(),
          1e3 * c["bound"].get<double>());
    }
    if (summary["metrics"].contains("accuracy")) {
      log_info("model of epoch {}: accuracy {:.4f}, loss {:.4f}",
               summary["choices"]["best_epoch"].get<std::int64_t>(),
               summary["metrics"]["accuracy"].get<double>(),
               summary["metrics"]["loss"].get<double>());
    }
  }

  const Communicator& world_;
  const TrainingRunOptions& options_;
  double begin_;
  Run run_;
  std::optional<LabelledSamples> training_;
  std::optional<LabelledSamples> validation_;
  std::unique_ptr<Network> network_;
  std::unique_ptr<Trainer> trainer_;
  double communication_seconds_ = 0;
  std::vector<nlohmann::json> history_;
};

}  // namespace

ExitCode run_training(const Communicator& world, const RunOptions& run,
                      const TrainingRunOptions& options) {
  return TrainingRun(world, run, options).run();
}

}  // namespace eigenscale
