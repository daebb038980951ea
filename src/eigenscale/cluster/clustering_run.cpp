#include "eigenscale/cluster/clustering_run.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "eigenscale/cluster/assignment_run.h"
#include "eigenscale/cluster/clustering_report.h"
#include "eigenscale/cluster/clustering_setting.h"
#include "eigenscale/cluster/clustering_snapshots.h"
#include "eigenscale/cluster/clustering_summary.h"
#include "eigenscale/cluster/distinct_rows.h"
#include "eigenscale/cluster/encoder_preparation.h"
#include "eigenscale/cluster/encoder_snapshot.h"
#include "eigenscale/cluster/landmark_run.h"
#include "eigenscale/cluster/memory_estimate.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/log.h"
#include "eigenscale/data/label_names.h"
#include "eigenscale/data/npy_file.h"
#include "eigenscale/data/sample_source.h"
#include "eigenscale/nn/safetensors.h"

namespace eigenscale {
namespace {

/// What makes clustering pointless or impossible, found before any work.
void check_data(const Communicator& world, const ClusteringRunOptions& options,
                const Samples& samples) {
  const std::int64_t count = samples.partition.rows();
  if (options.clustering.clusters > count) {
    throw InputError("--clusters is " + std::to_string(options.clustering.clusters) + " but '" +
                     options.data_name() + "' has " + std::to_string(count) + " samples");
  }
  require_vectors(samples.shape, options.data_name());
  const auto rows = samples.rows.flatten(1);
  auto first = torch::zeros({rows.size(1)}, rows.options());
  if (world.rank() == 0) {
    first.copy_(rows[0]);
  }
  world.broadcast(first, 0);
  const bool varies = rows.size(0) > 0 && !(rows == first).all().item<bool>();
  if (all_reduce(world, std::int64_t{varies ? 1 : 0}) == 0 && count > 1) {
    throw InputError("'" + options.data_name() + "' is constant: all " + std::to_string(count) +
                     " samples are equal in " +
                     (rows.scalar_type() == torch::kFloat64
                          ? "double precision"
                          : "single precision (--precision double keeps more digits)") +
                     ", there is nothing to cluster");
  }
  const std::int64_t distinct = count_distinct_rows(world, rows, options.clustering.clusters);
  if (distinct < options.clustering.clusters) {
    throw InputError("--clusters is " + std::to_string(options.clustering.clusters) + " but the " +
                     std::to_string(count) + " samples of '" + options.data_name() + "' are only " +
                     std::to_string(distinct) + " distinct points");
  }
}

void warn(Run& run, const ClusteringOptions& options, const ClusteringResult& result) {
  if (result.isolated > 0) {
    run.warn(std::to_string(result.isolated) +
             " samples have no affinity to any other; their cluster is arbitrary");
  }
  if (result.found_clusters < options.clusters) {
    run.warn("only " + std::to_string(result.found_clusters) + " of " +
             std::to_string(options.clusters) + " clusters have members");
  }
  if (result.components > options.clusters) {
    run.warn("the affinity falls into at least " + std::to_string(result.components) +
             " unconnected parts, more than clusters: raise --threshold");
  }
  const auto& singular = result.latent_singular_values;
  if (singular.defined() && singular.numel() > 2) {
    const double share =
        (singular[0].square() / singular.square().sum().clamp_min(1e-300)).item<double>();
    if (singular[1].item<double>() < 1e-3 * singular[0].item<double>()) {
      run.warn("the latents have collapsed onto one direction (it holds " + std::to_string(share) +
               " of their energy)");
    }
  }
}

/// What is clustered, and what its phases write to.
class ClusteringRun {
 public:
  ClusteringRun(const Communicator& world, const RunOptions& run,
                const ClusteringRunOptions& options, const SelfExpressionChoice& choice)
      : world_(world),
        options_(options),
        choice_(choice),
        begin_(now_seconds()),
        run_(world, run) {}

  void run() {
    run_.phase("read");
    const auto samples =
        load_samples(world_, options_.data, options_.clustering.precision, options_.scale);
    std::optional<torch::Tensor> classes;
    if (!options_.labels.empty()) {
      classes = load_label_names(world_, options_.labels, samples.partition).indices;
    }
    const auto clustering = complete_options(samples);
    if (clustering.landmarks > 0) {
      log_info("{}", require_memory(world_,
                                    memory_for_codes(samples.partition.rows(), clustering.landmarks,
                                                     clustering.precision)));
    } else {
      require_memory_for_coefficients(world_, samples.partition.rows(), clustering.closed_form,
                                      clustering.precision);
    }
    run_.claim(
        {.inputs = options_.inputs(clustering.pretrained),
         .outputs = {"labels.npy", "embedding.npy", "pretrained.safetensors", "checkpoints"}});
    snapshots_.emplace(
        world_, run_,
        clustering_setting(options_, settings_, choice_, samples.partition.rows(), samples.shape),
        begin_, options_.snapshots);
    open_log(clustering.autoencoder.kind != EncoderKind::kNone);
    log_info("{} samples of {} numbers in {} clusters on {} ranks, grid {}x{}, {} threads each",
             samples.partition.rows(), clustering.autoencoder.features, clustering.clusters,
             world_.size(), clustering.grid_rows, clustering.grid_columns,
             torch::get_num_threads());
    if (run_.placement().on_device()) {
      log_info(
          "networks and coefficients are trained on the GPU; a closed form, the affinity, its "
          "eigenproblem and the labels are found on the host");
    }

    ClusteringResult result =
        cluster_samples(run_.placement(), samples, classes, clustering, events(), &*snapshots_);
    run_.phase("write");
    write_npy(world_, run_.file("labels.npy"), result.labels);
    write_npy(world_, run_.file("embedding.npy"), result.embedding);
    finish(samples, clustering, result);
  }

 private:
  ClusteringOptions complete_options(const Samples& samples) {
    auto clustering = options_.clustering;
    on_all_ranks(world_, [&] {
      clustering.settings = with_read_overrides(
          options_.preset.empty() ? default_settings(samples.partition.rows(), clustering.clusters,
                                                     clustering.landmarks)
                                  : preset(options_.preset, clustering.clusters),
          options_.overrides, clustering.pretrained,
          [this](const std::string& text) { run_.warn(text); });
      clustering.autoencoder =
          autoencoder_specification(clustering.settings, samples.shape, options_.data_name());
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
    if (std::int64_t{clustering.grid_rows} * clustering.grid_columns != world_.size()) {
      throw Error(ExitCode::kOptions,
                  "--grid is " + std::to_string(clustering.grid_rows) + "x" +
                      std::to_string(clustering.grid_columns) + " but there are " +
                      std::to_string(world_.size()) + " ranks",
                  true);
    }
    settings_ = clustering.settings;
    return clustering;
  }

  /// The lines that stay are what the report draws.
  void open_log(bool has_encoder_phase) {
    const bool pretrains = has_encoder_phase && !has_encoder(*snapshots_);
    snapshots_->open_log(
        pretrains && run_.options().resume
            ? pretraining_epochs_done(world_, run_.file("checkpoints"))
            : 0,
        [this](const nlohmann::json& line) {
          if (line.at("phase") == "pretrain") {
            history_.epochs.push_back({.initialization = line.at("initialization"),
                                       .epoch = line.at("epoch"),
                                       .loss = line.at("loss"),
                                       .rmse = line.at("rmse")});
          } else if (line.at("phase") == "finetune") {
            history_.steps.push_back({.step = line.at("step"),
                                      .reconstruction = line.at("reconstruction"),
                                      .self_expression = line.at("self_expression"),
                                      .coefficient_penalty = line.at("coefficient_penalty"),
                                      .loss = line.at("loss")});
          }
        });
  }

  ClusteringEvents events() {
    ClusteringEvents events;
    events.phase = [this](const std::string& phase) { run_.phase(phase); };
    events.epoch = [this](const EpochReport& epoch) {
      history_.epochs.push_back(epoch);
      log_epoch(run_, epoch);
      return true;
    };
    events.step = [this](const FineTuningStep& step) {
      history_.steps.push_back(step);
      log_step(run_, step, settings_.finetune_steps);
      return true;
    };
    events.pretrained = [this](Autoencoder& autoencoder) {
      on_first_rank(world_, [&] {
        write_safetensors(run_.file("pretrained.safetensors"), named_parameters(autoencoder));
      });
    };
    return events;
  }

  void finish(const Samples& samples, const ClusteringOptions& clustering,
              const ClusteringResult& result) {
    auto& summary = run_.summary();
    summary["choices"] = result.choices;
    summary["choices"]["samples"] = samples.partition.rows();
    summary["choices"]["grid"] =
        std::to_string(clustering.grid_rows) + "x" + std::to_string(clustering.grid_columns);
    summary["choices"]["landmarks"] =
        clustering.landmarks > 0 ? clustering.landmarks : samples.partition.rows();
    summarize_pretraining(run_, result.pretraining, clustering.settings.pretrain_batch);
    warn(run_, clustering, result);
    summarize_metrics(run_, result.metrics);
    run_.finish([&](const nlohmann::json& whole) {
      return clustering_report(world_, samples, clustering, result, history_, whole);
    });
  }

  const Communicator& world_;
  const ClusteringRunOptions& options_;
  SelfExpressionChoice choice_;
  double begin_;
  Run run_;
  std::optional<ClusteringSnapshots> snapshots_;
  ClusteringSettings settings_;
  ClusteringHistory history_;
};

}  // namespace

ExitCode run_clustering(const Communicator& world, const RunOptions& run,
                        const ClusteringRunOptions& options) {
  if (!options.assign.empty()) {
    return run_assignment(world, run, options);
  }
  SelfExpressionChoice choice;
  const std::int64_t samples = open_sample_sources(world, options.data)->rows();
  on_all_ranks(world, [&] { choice = choose_self_expression(options, samples); });
  if (choice.landmarks) {
    return run_landmark_clustering(world, run, options, choice);
  }
  auto all = options;
  all.clustering.closed_form = choice.closed_form;
  all.clustering.landmarks = choice.codes ? choice.count : 0;
  return end_at_stop([&] { ClusteringRun(world, run, all, choice).run(); });
}

}  // namespace eigenscale
