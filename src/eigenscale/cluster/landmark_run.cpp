#include "eigenscale/cluster/landmark_run.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "eigenscale/cluster/encoder_preparation.h"
#include "eigenscale/cluster/landmark_clustering.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/leading_directions.h"
#include "eigenscale/cluster/row_labelling.h"
#include "eigenscale/cluster/subspace_ablation.h"
#include "eigenscale/cluster/subspace_model.h"
#include "eigenscale/cluster/subspace_pictures.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/cluster/subspace_report.h"
#include "eigenscale/cluster/subspace_sums.h"
#include "eigenscale/cluster/unit_rows.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/memory_check.h"
#include "eigenscale/core/log.h"
#include "eigenscale/data/label_names.h"
#include "eigenscale/data/row_stream.h"
#include "eigenscale/data/sample_source.h"
#include "eigenscale/nn/safetensors.h"

namespace eigenscale {
namespace {

// Unit rows of a rank that stay in memory, and are read again from the file in every pass beyond.
// So many always, and a share of the memory where making a row takes longer than a pass of
// refinement over it: wide rows, mapped and encoded ones.
constexpr std::int64_t kHeldBytes = std::int64_t{128} << 20;
constexpr double kHeldShare = 0.125;
constexpr std::int64_t kDearFeatures = 64;

nlohmann::json metrics_json(const ClusteringMetrics& metrics) {
  return {{"accuracy", metrics.accuracy}, {"nmi", metrics.nmi}, {"ari", metrics.ari}};
}

/// The rows of a provider in memory.
torch::Tensor hold_rows(const Communicator& world, const RowProvider& rows,
                        torch::ScalarType type) {
  auto held = torch::empty({rows.rows(), rows.features()}, type);
  RowStream(world, rows, {.type = type}).for_each_piece([&](const RowPiece& piece) {
    held.narrow(0, piece.range.begin, piece.range.size()).copy_(piece.rows);
  });
  return held;
}

/// Root mean square of the rows' lengths, of a fixed sample.
double typical_length(const Communicator& world, const RowPartition& partition,
                      const RowProvider& rows, std::uint64_t seed) {
  const auto sample =
      draw_rows(partition.rows(), std::min<std::int64_t>(10000, partition.rows()), seed, "lengths");
  double sum = 0;
  on_all_ranks(world, [&] {
    sum = rows.read_at(own_positions(partition.range(world.rank()), sample), torch::kFloat64)
              .square()
              .sum()
              .item<double>();
  });
  return std::sqrt(all_reduce(world, sum) / static_cast<double>(sample.size()));
}

class LandmarkRun {
 public:
  LandmarkRun(const Communicator& world, const RunOptions& run, const ClusteringRunOptions& options,
              SelfExpressionChoice choice)
      : world_(world),
        options_(options),
        choice_(std::move(choice)),
        run_(world, run),
        type_(options.clustering.precision) {}

  void run() {
    open();
    run_.claim({.inputs = options_.inputs(options_.clustering.pretrained),
                .outputs = {"labels.npy", "residuals.npy", "embedding.npy", "subspaces.safetensors",
                            "pretrained.safetensors"}});
    run_.open_log();
    prepare_rows();
    announce_start();
    const auto clustering = landmark_options();
    landmarks_ = cluster_landmarks(
        world_, *partition_, *unit_, clustering,
        {.landmarks = choice_.count,
         .draws = choice_.count == partition_->rows() ? 1 : options_.landmark_draws,
         .dimension = options_.overrides.subspace_dim.value_or(0)},
        [this](const std::string& phase) { run_.phase(phase); });
    spdlog::info("best start: {} (objective {:.4g}), dimension {}",
                 landmarks_.candidates[landmarks_.best].start,
                 landmarks_.candidates[landmarks_.best].objective, landmarks_.dimension);
    refine();
    run_.phase("write");
    labelling_ = label_rows(world_, *unit_, model_.bases, run_.directory());
    model_.sizes = labelling_.sizes;
    model_.objective = labelling_.objective;
    on_first_rank(world_, [&] { save_subspace_model(run_.file("subspaces.safetensors"), model_); });
    measure();
    finish();
  }

 private:
  void open() {
    run_.phase("read");
    source_ = open_sample_sources(world_, options_.data);
    partition_.emplace(source_->rows(), world_.size());
    raw_ = std::make_unique<FileRows>(*source_, partition_->range(world_.rank()), options_.scale);
    on_all_ranks(world_, [&] {
      const std::int64_t clusters = options_.clustering.clusters;
      if (clusters > partition_->rows()) {
        throw InputError("--clusters is " + std::to_string(clusters) + " but '" +
                         options_.data_name() + "' has " + std::to_string(partition_->rows()) +
                         " samples");
      }
      settings_ =
          with_overrides(default_settings(partition_->rows(), clusters), options_.overrides);
      autoencoder_ =
          autoencoder_specification(settings_, source_->row_shape(), options_.data_name());
      if (raw_->features() < 1) {
        throw InputError("'" + options_.data_name() + "' has samples without elements");
      }
    });
    if (autoencoder_.kind == EncoderKind::kNone) {
      require_room((raw_->features() > kWideRows ? kReducedFeatures : raw_->features()) +
                   (options_.affine ? 1 : 0));
    }
    if (!options_.labels.empty()) {
      classes_ = load_label_names(world_, options_.labels, *partition_).indices;
    }
  }

  /// The encoder, trained on all rows, which are held for that.
  void prepare_network() {
    run_.phase("pretrain");
    model_.encoder = std::make_shared<Autoencoder>(autoencoder_, type_, options_.clustering.seed);
    const auto rows = hold_rows(world_, *raw_, type_);
    pretraining_ =
        prepare_encoder(world_, *model_.encoder, rows,
                        {.pretrained = options_.clustering.pretrained,
                         .most_epochs = settings_.pretrain_epochs,
                         .stop_on_plateau = options_.clustering.stop_on_plateau,
                         .batch = settings_.pretrain_batch,
                         .seed = options_.clustering.seed},
                        [this](const EpochReport& epoch) {
                          run_.log({{"phase", "pretrain"},
                                    {"initialization", epoch.initialization},
                                    {"epoch", epoch.epoch},
                                    {"loss", epoch.loss},
                                    {"rmse", epoch.rmse}});
                          run_.progress("pretrain", settings_.pretrain_epochs, epoch.epoch,
                                        fmt::format("RMSE {:.5g}", epoch.rmse));
                          return true;
                        });
    on_first_rank(world_, [&] {
      write_safetensors(run_.file("pretrained.safetensors"), named_parameters(*model_.encoder));
    });
  }

  /// Encoder or reduction, appended constant, unit length; held where the rows of a rank are few.
  void prepare_rows() {
    model_.scale = options_.scale;
    if (autoencoder_.kind != EncoderKind::kNone) {
      prepare_network();
    } else if (raw_->features() > kWideRows) {
      run_.phase("directions");
      model_.directions = leading_directions(world_, *partition_, *raw_, kReducedFeatures,
                                             options_.clustering.seed);
    }
    features_ =
        std::make_unique<FeatureRows>(*raw_, partition_->range(world_.rank()).begin, model_);
    if (options_.affine) {
      model_.constant = typical_length(world_, *partition_, *features_, options_.clustering.seed);
    }
    streamed_ = std::make_unique<UnitRows>(*features_, model_.constant);
    const std::int64_t bytes = partition_->block() * streamed_->features() *
                               static_cast<std::int64_t>(torch::elementSize(type_));
    const bool dear = raw_->features() >= kDearFeatures;
    const double spare = dear ? available_memory_per_rank(world_) * kHeldShare : 0;
    held_ = bytes <= std::max(kHeldBytes, static_cast<std::int64_t>(spare));
    if (held_) {
      unit_ = std::make_unique<MemoryRows>(hold_rows(world_, *streamed_, type_));
    } else {
      unit_ = std::make_unique<UnitRows>(*features_, model_.constant);
    }
    require_room(unit_->features());
  }

  /// Subspaces must be smaller than the space.
  void require_room(std::int64_t features) const {
    const auto dimension = options_.overrides.subspace_dim;
    if (dimension && *dimension >= features) {
      throw Error(ExitCode::kInput,
                  "--subspace-dim is " + std::to_string(*dimension) + " but the rows of '" +
                      options_.data_name() + "' have " + std::to_string(features) +
                      " features; subspaces must have fewer",
                  true);
    }
    if (features < 2) {
      throw Error(ExitCode::kInput,
                  "the rows of '" + options_.data_name() +
                      "' are single numbers: there are no subspaces in one dimension",
                  true);
    }
  }

  void announce_start() const {
    const auto mebibytes = [](std::int64_t bytes) {
      return std::max<std::int64_t>(1, bytes >> 20);
    };
    spdlog::info("{} samples of {} numbers in {} clusters on {} ranks, {} threads each",
                 partition_->rows(), raw_->features(), options_.clustering.clusters, world_.size(),
                 torch::get_num_threads());
    if (model_.directions.defined()) {
      spdlog::info("rows are reduced to their {} leading directions", model_.directions.size(1));
    }
    const std::int64_t rows =
        partition_->block() *
        (12 +
         (held_ ? unit_->features() * static_cast<std::int64_t>(torch::elementSize(type_)) : 0));
    spdlog::info(
        "self-expression: {}; memory of a rank: about {} MiB for landmarks, {} MiB for its rows, "
        "which are {}",
        choice_.reason, mebibytes(landmark_bytes(choice_.count, world_.size())), mebibytes(rows),
        held_ ? "held" : "read again in every pass");
  }

  ClusteringOptions landmark_options() {
    auto clustering = options_.clustering;
    clustering.settings =
        with_overrides(default_settings(choice_.count, clustering.clusters), options_.overrides);
    clustering.settings.subspace_dim =
        std::min(clustering.settings.subspace_dim, unit_->features());
    clustering.closed_form = choice_.closed_form;
    const auto [rows, columns] = ProcessGrid::squarest(world_.size());
    clustering.grid_rows = rows;
    clustering.grid_columns = columns;
    return clustering;
  }

  void refine() {
    run_.phase("refine");
    constexpr RefinementOptions kRefinement;
    auto refined = refine_subspaces(
        world_, *unit_, landmarks_.bases, kRefinement, [this](const RefinementPass& pass) {
          run_.log({{"phase", "refine"},
                    {"pass", pass.pass},
                    {"objective", pass.objective},
                    {"changed", pass.changed},
                    {"refilled", pass.refilled}});
          run_.progress("refine", kRefinement.most_passes, pass.pass,
                        fmt::format("objective {:.4g}, {:.3g} % changed", pass.objective,
                                    100 * pass.changed));
        });
    passes_ = std::move(refined.passes);
    // Clusters are numbered by the order in which they appear; the labels are made once more.
    const auto order = torch::tensor(
        order_of_appearance(world_, refined.labels, refined.residuals,
                            partition_->range(world_.rank()).begin, options_.clustering.clusters),
        torch::kInt64);
    model_.bases = refined.bases.index_select(0, order).contiguous();
    model_.spectra = refined.spectra.index_select(0, order).contiguous();
  }

  void measure() {
    if (!classes_) {
      return;
    }
    run_.phase("metrics");
    metrics_[""] = clustering_metrics(confusion_matrix(world_, labelling_.labels, *classes_));
    if (options_.clustering.ablation) {
      run_.phase("ablation");
      metrics_.merge(subspace_ablation(
          world_, *partition_, *raw_, *unit_, *classes_, landmarks_.unrefined_bases,
          {.clusters = options_.clustering.clusters, .seed = options_.clustering.seed}));
    }
  }

  /// C, H, W of the samples; something else when they are no images.
  std::vector<std::int64_t> image_shape() const {
    if (!settings_.image_shape.empty()) {
      return settings_.image_shape;
    }
    auto shape = source_->row_shape();
    if (shape.size() == 2) {
      shape.insert(shape.begin(), 1);
    }
    return shape;
  }

  void warn() {
    if (labelling_.zero_rows > 0) {
      run_.warn(std::to_string(labelling_.zero_rows) +
                " rows are all zeros: they belong to every subspace and took no part; their label "
                "is 0, their residual 1");
    }
    const auto empty = (labelling_.sizes == 0).sum().item<std::int64_t>();
    if (empty > 0) {
      run_.warn("only " + std::to_string(options_.clustering.clusters - empty) + " of " +
                std::to_string(options_.clustering.clusters) + " clusters have members");
    }
    const auto repeated = choice_.count - landmarks_.distinct_rows;
    if (repeated > choice_.count / 100) {
      run_.warn(std::to_string(repeated) + " of " + std::to_string(choice_.count) +
                " landmarks are copies of others: many rows are identical");
    }
  }

  void finish() {
    auto& summary = run_.summary();
    for (const auto& [name, metrics] : metrics_) {
      if (name.empty()) {
        summary["metrics"].update(metrics_json(metrics));
      } else {
        summary["metrics"][name] = metrics_json(metrics);
      }
      spdlog::info("  {:<26} accuracy {:.4f}  NMI {:.4f}  ARI {:.4f}",
                   name.empty() ? "result" : name, metrics.accuracy, metrics.nmi, metrics.ari);
    }
    const auto residuals = residual_histogram(world_, labelling_.residuals);
    summary["metrics"]["objective"] = labelling_.objective;
    summary["metrics"]["suspected_outliers"] = residuals.suspected_outliers;
    summary["choices"] = {
        {"self_expression", choice_.reason},
        {"landmarks", choice_.count},
        {"subspace_dim", landmarks_.dimension},
        {"start", landmarks_.candidates[landmarks_.best].start},
        {"passes", passes_.size()},
        {"features", unit_->features()},
        {"update", SubspaceSums::by_moments(options_.clustering.clusters, unit_->features())
                       ? "moments"
                       : "subspace iteration"},
        {"rows", held_ ? "held" : "streamed"}};
    if (pretraining_) {
      summary["choices"]["pretraining_epochs"] = pretraining_->last.epoch;
      summary["choices"]["pretraining_batch"] = settings_.pretrain_batch;
      summary["choices"]["pretraining_rmse"] = pretraining_->last.rmse;
      summary["choices"]["pretraining_stopped_by"] = pretraining_->stopped_by;
    }
    warn();
    const auto shape = image_shape();
    const SubspacePictures pictures{
        direction_pictures(model_, shape),
        residual_pictures(world_, *partition_, *raw_, labelling_.residuals, shape)};
    run_.finish([&](const nlohmann::json& whole) {
      return subspace_report(world_, *partition_, *unit_,
                             {.labelling = &labelling_,
                              .model = &model_,
                              .landmarks = &landmarks_,
                              .passes = &passes_,
                              .residuals = residuals,
                              .metrics = metrics_},
                             pictures, options_.clustering.seed, whole);
    });
  }

  const Communicator& world_;
  const ClusteringRunOptions& options_;
  SelfExpressionChoice choice_;
  Run run_;
  torch::ScalarType type_;
  std::unique_ptr<SampleSource> source_;
  std::optional<RowPartition> partition_;
  std::unique_ptr<FileRows> raw_;
  std::optional<torch::Tensor> classes_;
  ClusteringSettings settings_;
  AutoencoderSpecification autoencoder_;
  std::optional<PretrainingResult> pretraining_;
  SubspaceModel model_;
  std::unique_ptr<FeatureRows> features_;
  std::unique_ptr<UnitRows> streamed_;
  std::unique_ptr<RowProvider> unit_;
  bool held_ = false;
  LandmarkModel landmarks_;
  std::vector<RefinementPass> passes_;
  RowLabelling labelling_;
  std::map<std::string, ClusteringMetrics> metrics_;
};

}  // namespace

ExitCode run_landmark_clustering(const Communicator& world, const RunOptions& run,
                                 const ClusteringRunOptions& options,
                                 const SelfExpressionChoice& choice) {
  LandmarkRun(world, run, options, choice).run();
  return ExitCode::kDone;
}

}  // namespace eigenscale
