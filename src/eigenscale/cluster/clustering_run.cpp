#include "eigenscale/cluster/clustering_run.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "eigenscale/cluster/clustering_report.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/memory.h"
#include "eigenscale/core/shape_text.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/data/labels.h"
#include "eigenscale/data/npy_file.h"
#include "eigenscale/nn/safetensors.h"
#include "eigenscale/report/metrics_log.h"
#include "eigenscale/report/phase_timers.h"
#include "eigenscale/report/progress.h"
#include "eigenscale/report/run_directory.h"
#include "eigenscale/report/summary.h"

namespace eigenscale {
namespace {

/// What makes clustering pointless or impossible, found before any work.
void check_data(const Communicator& world, const ClusteringRunOptions& options,
                const Samples& samples) {
  const std::int64_t count = samples.partition.rows();
  if (options.clustering.clusters > count) {
    throw InputError("--clusters is " + std::to_string(options.clustering.clusters) + " but '" +
                     options.data + "' has " + std::to_string(count) + " samples");
  }
  const auto rows = samples.rows.flatten(1);
  auto first = torch::zeros({rows.size(1)}, rows.options());
  if (world.rank() == 0) {
    first.copy_(rows[0]);
  }
  world.broadcast(first, 0);
  const bool varies = rows.size(0) > 0 && !(rows == first).all().item<bool>();
  if (all_reduce(world, std::int64_t{varies ? 1 : 0}) == 0 && count > 1) {
    throw InputError("'" + options.data + "' is constant: all " + std::to_string(count) +
                     " samples are equal, there is nothing to cluster");
  }
}

AutoencoderSpecification specification(const ClusteringRunOptions& options,
                                       const ClusteringSettings& settings, const Samples& samples) {
  AutoencoderSpecification result;
  result.kind = parse_encoder_kind(settings.encoder);
  result.features = 1;
  for (const std::int64_t size : samples.shape) {
    result.features *= size;
  }
  if (!settings.image_shape.empty()) {
    std::copy_n(settings.image_shape.begin(), 3, result.image_shape.begin());
    std::int64_t pixels = 1;
    for (const std::int64_t size : settings.image_shape) {
      pixels *= size;
    }
    if (pixels != result.features) {
      throw InputError("--image-shape is " + shape_text(settings.image_shape) +
                       " but the samples of '" + options.data + "' have " +
                       std::to_string(result.features) + " numbers (" + shape_text(samples.shape) +
                       ")");
    }
  }
  if (result.kind == EncoderKind::kConvolution) {
    result.channels = settings.channels;
    result.kernels = settings.kernels;
    if (settings.image_shape.empty()) {
      throw OptionError("--encoder conv needs --image-shape, such as 1x28x28");
    }
  } else if (result.kind == EncoderKind::kPerceptron) {
    result.widths = settings.channels;
  }
  check_specification(result);
  return result;
}

nlohmann::json to_json(const ClusteringMetrics& metrics) {
  return {{"accuracy", metrics.accuracy}, {"nmi", metrics.nmi}, {"ari", metrics.ari}};
}

nlohmann::json warnings(const ClusteringOptions& options, const ClusteringResult& result) {
  auto list = nlohmann::json::array();
  if (result.isolated > 0) {
    list.push_back(std::to_string(result.isolated) +
                   " samples have no affinity to any other; their cluster is arbitrary");
  }
  if (result.found_clusters < options.clusters) {
    list.push_back("only " + std::to_string(result.found_clusters) + " of " +
                   std::to_string(options.clusters) + " clusters have members");
  }
  if (result.components > options.clusters) {
    list.push_back("the affinity falls into at least " + std::to_string(result.components) +
                   " unconnected parts, more than clusters: raise --threshold");
  }
  const auto& singular = result.latent_singular_values;
  if (singular.defined() && singular.numel() > 2) {
    const double share =
        (singular[0].square() / singular.square().sum().clamp_min(1e-300)).item<double>();
    if (singular[1].item<double>() < 1e-3 * singular[0].item<double>()) {
      list.push_back("the latents have collapsed onto one direction (it holds " +
                     std::to_string(share) + " of their energy)");
    }
  }
  return list;
}

/// One run: owns what all phases write to.
class ClusteringRun {
 public:
  ClusteringRun(const Communicator& world, const ClusteringRunOptions& options)
      : world_(world),
        options_(options),
        startup_bytes_(peak_memory_bytes()),
        directory_(world, options.output,
                   {options.overwrite,
                    false,
                    {options.data, options.labels, options.clustering.pretrained}}),
        log_(world, directory_.file("metrics.jsonl")),
        progress_mode_(Progress::parse(options.progress)) {
    directory_.write_setting(options.configuration);
    if (options.trace) {
      start_trace();
    }
  }

  void run() {
    timers_.begin("read");
    const auto samples =
        load_samples(world_, options_.data, options_.clustering.precision, options_.scale);
    std::optional<torch::Tensor> classes;
    if (!options_.labels.empty()) {
      classes = load_labels(world_, options_.labels, samples.partition);
    }
    const auto clustering = complete_options(samples);
    spdlog::info("{} samples of {} numbers in {} clusters on {} ranks, grid {}x{}, {} threads each",
                 samples.partition.rows(), clustering.autoencoder.features, clustering.clusters,
                 world_.size(), clustering.grid_rows, clustering.grid_columns,
                 torch::get_num_threads());

    ClusteringResult result = cluster_samples(world_, samples, classes, clustering, events());
    end_progress();
    timers_.begin("write");
    write_npy(world_, directory_.file("labels.npy"), result.labels);
    write_npy(world_, directory_.file("embedding.npy"), result.embedding);
    finish(samples, clustering, result);
  }

 private:
  ClusteringOptions complete_options(const Samples& samples) {
    auto clustering = options_.clustering;
    on_all_ranks(world_, [&] {
      if (!options_.has_preset) {
        clustering.settings = default_settings(samples.partition.rows(), clustering.clusters);
        options_.override_settings(clustering.settings);
      }
      clustering.autoencoder = specification(options_, clustering.settings, samples);
    });
    // Collective inside, so outside of on_all_ranks; every rank finds the same.
    try {
      check_data(world_, options_, samples);
    } catch (const Error& error) {
      throw Error(error.exit_code(), error.what(), true);
    }
    const auto [rows, columns] = ProcessGrid::squarest(world_.size());
    clustering.grid_rows = options_.grid[0] > 0 ? options_.grid[0] : rows;
    clustering.grid_columns = options_.grid[0] > 0 ? options_.grid[1] : columns;
    if (clustering.grid_rows * clustering.grid_columns != world_.size()) {
      throw Error(ExitCode::kOptions,
                  "--grid is " + std::to_string(clustering.grid_rows) + "x" +
                      std::to_string(clustering.grid_columns) + " but there are " +
                      std::to_string(world_.size()) + " ranks",
                  true);
    }
    settings_ = clustering.settings;
    return clustering;
  }

  ClusteringEvents events() {
    ClusteringEvents events;
    events.phase = [this](const std::string& phase) {
      end_progress();
      timers_.begin(phase);
      spdlog::info("{} ...", phase);
    };
    events.epoch = [this](const EpochReport& epoch) {
      history_.epochs.push_back(epoch);
      log_.write({{"phase", "pretrain"},
                  {"initialization", epoch.initialization},
                  {"epoch", epoch.epoch},
                  {"loss", epoch.loss},
                  {"rmse", epoch.rmse}});
      progress("pretrain", settings_.pretrain_epochs, epoch.epoch,
               "RMSE " + fmt::format("{:.5g}", epoch.rmse));
      return true;
    };
    events.step = [this](const FineTuningStep& step) {
      history_.steps.push_back(step);
      log_.write({{"phase", "finetune"},
                  {"step", step.step},
                  {"loss", step.loss},
                  {"reconstruction", step.reconstruction},
                  {"self_expression", step.self_expression},
                  {"coefficient_penalty", step.coefficient_penalty}});
      progress("finetune", settings_.finetune_steps, step.step,
               "loss " + fmt::format("{:.6g}", step.loss));
      return true;
    };
    events.pretrained = [this](Autoencoder& autoencoder) {
      end_progress();
      on_first_rank(world_, [&] {
        write_safetensors(directory_.file("pretrained.safetensors"), named_parameters(autoencoder));
      });
    };
    return events;
  }

  void progress(const char* label, std::int64_t steps, std::int64_t step, const std::string& text) {
    if (!progress_) {
      progress_.emplace(label, steps, progress_mode_, world_.rank() == 0);
    }
    progress_->update(step, text);
  }

  void end_progress() {
    if (progress_) {
      progress_->finish();
      progress_.reset();
    }
  }

  void finish(const Samples& samples, const ClusteringOptions& clustering,
              const ClusteringResult& result) {
    timers_.end();
    auto summary = make_summary(world_, "eigenscale-cluster", options_.device, startup_bytes_);
    for (const auto& [name, metrics] : result.metrics) {
      if (name.empty()) {
        summary["metrics"].update(to_json(metrics));
      } else {
        summary["metrics"][name] = to_json(metrics);
      }
    }
    summary["seconds"] = timers_.reduce(world_);
    summary["choices"] = result.choices;
    summary["choices"]["grid"] =
        std::to_string(clustering.grid_rows) + "x" + std::to_string(clustering.grid_columns);
    summary["choices"]["landmarks"] = samples.partition.rows();
    if (result.pretraining) {
      summary["choices"]["pretraining_epochs"] = result.pretraining->last.epoch;
      summary["choices"]["pretraining_rmse"] = result.pretraining->last.rmse;
      summary["choices"]["pretraining_stopped_by"] = result.pretraining->stopped_by;
    }
    summary["counters"] = counters();
    summary["warnings"] = warnings(clustering, result);
    for (const auto& warning : summary["warnings"]) {
      spdlog::warn("warning: {}", warning.get<std::string>());
    }
    directory_.write("report.html",
                     clustering_report(world_, samples, clustering, result, history_, summary));
    if (options_.trace) {
      directory_.write("trace.json", gather_trace(world_));
    }
    directory_.write("summary.json", summary.dump(2) + "\n");
    announce(summary);
  }

  void announce(const nlohmann::json& summary) const {
    for (const auto& [name, value] : summary["metrics"].items()) {
      if (value.is_object()) {
        spdlog::info("  {:<26} accuracy {:.4f}  NMI {:.4f}  ARI {:.4f}", name,
                     value["accuracy"].get<double>(), value["nmi"].get<double>(),
                     value["ari"].get<double>());
      }
    }
    if (summary["metrics"].contains("accuracy")) {
      const auto& metrics = summary["metrics"];
      spdlog::info("  {:<26} accuracy {:.4f}  NMI {:.4f}  ARI {:.4f}", "result",
                   metrics["accuracy"].get<double>(), metrics["nmi"].get<double>(),
                   metrics["ari"].get<double>());
    }
    spdlog::info("done in {:.1f} s: {}", summary["seconds"]["total"].get<double>(),
                 directory_.file("report.html").string());
  }

  const Communicator& world_;
  const ClusteringRunOptions& options_;
  std::int64_t startup_bytes_;
  PhaseTimers timers_;
  RunDirectory directory_;
  MetricsLog log_;
  Progress::Mode progress_mode_;
  std::optional<Progress> progress_;
  ClusteringSettings settings_;
  ClusteringHistory history_;
};

}  // namespace

void run_clustering(const Communicator& world, const ClusteringRunOptions& options) {
  ClusteringRun(world, options).run();
}

}  // namespace eigenscale
