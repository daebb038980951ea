#include "eigenscale/cluster/landmark_run.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "eigenscale/cluster/clustering_setting.h"
#include "eigenscale/cluster/clustering_snapshots.h"
#include "eigenscale/cluster/clustering_summary.h"
#include "eigenscale/cluster/curve_learning.h"
#include "eigenscale/cluster/curve_snapshot.h"
#include "eigenscale/cluster/encoder_preparation.h"
#include "eigenscale/cluster/encoder_snapshot.h"
#include "eigenscale/cluster/landmark_clustering.h"
#include "eigenscale/cluster/landmark_fine_tuning.h"
#include "eigenscale/cluster/landmark_snapshots.h"
#include "eigenscale/cluster/landmark_summary.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/leading_directions.h"
#include "eigenscale/cluster/memory_estimate.h"
#include "eigenscale/cluster/row_labelling.h"
#include "eigenscale/cluster/run_rows.h"
#include "eigenscale/cluster/subspace_ablation.h"
#include "eigenscale/cluster/subspace_model.h"
#include "eigenscale/cluster/subspace_pictures.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/cluster/subspace_report.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/log.h"
#include "eigenscale/data/label_names.h"
#include "eigenscale/nn/safetensors.h"

namespace eigenscale {
namespace {

class LandmarkRun {
 public:
  LandmarkRun(const Communicator& world, const RunOptions& run, const ClusteringRunOptions& options,
              SelfExpressionChoice choice)
      : world_(world),
        options_(options),
        choice_(std::move(choice)),
        begin_(now_seconds()),
        run_(world, run) {}

  void run() {
    open();
    run_.claim({.inputs = options_.inputs(options_.clustering.pretrained),
                .outputs = {"labels.npy", "residuals.npy", "embedding.npy", "subspaces.safetensors",
                            "pretrained.safetensors", "checkpoints"}});
    snapshots_.emplace(world_, run_,
                       clustering_setting(options_, settings_, choice_, rows_->partition().rows(),
                                          rows_->sample_shape()),
                       begin_, options_.snapshots);
    const bool pretrains = autoencoder_.kind != EncoderKind::kNone && !has_encoder(*snapshots_);
    snapshots_->open_log(pretrains && run_.options().resume
                             ? pretraining_epochs_done(world_, run_.file("checkpoints"))
                             : 0);
    prepare_rows();
    announce_start();
    find_landmark_subspaces();
    refine();
    run_.phase("write");
    labelling_ = label_rows(run_.placement(), rows_->unit(), model_.bases, run_.directory());
    model_.sizes = labelling_.sizes;
    model_.objective = labelling_.objective;
    on_first_rank(world_, [&] { save_subspace_model(run_.file("subspaces.safetensors"), model_); });
    measure();
    finish();
  }

 private:
  void open() {
    run_.phase("read");
    rows_.emplace(run_.placement(), options_);
    on_all_ranks(world_, [&] {
      settings_ = with_read_overrides(
          default_settings(rows_->partition().rows(), options_.clustering.clusters),
          options_.overrides, options_.clustering.pretrained,
          [this](const std::string& text) { run_.warn(text); });
      autoencoder_ =
          autoencoder_specification(settings_, rows_->sample_shape(), options_.data_name());
    });
    const std::int64_t features = rows_->raw().features();
    if (learns_curves(settings_)) {
      require_few_features(features, options_.data_name());
    }
    const bool encodes = autoencoder_.kind != EncoderKind::kNone;
    const bool reduces = !encodes && features > kWideRows;
    const std::int64_t mapped =
        encodes ? Autoencoder(autoencoder_, options_.clustering.precision, 0).latent_size()
                : (reduces ? kReducedFeatures : features);
    // Curves are learned without the constant.
    rows_->require_room(mapped + (options_.affine && !learns_curves(settings_) ? 1 : 0));
    if (options_.whiten_features.value_or(0) > 0) {
      require_memory(world_, memory_for_whitening(mapped));
    }
    if (reduces) {
      require_memory(world_, memory_for_leading_directions(features));
    }
    if (learns_curves(settings_)) {
      require_memory(world_, memory_for_curves(features, options_.clustering.clusters));
    }
    log_info("{}", require_memory(world_, memory_for_landmarks(choice_.count)));
    if (!options_.labels.empty()) {
      classes_ = load_label_names(world_, options_.labels, rows_->partition()).indices;
    }
  }

  /// The encoder, trained on all rows, which are held for that, or read from a file.
  void prepare_network() {
    const auto& clustering = options_.clustering;
    model_.encoder =
        std::make_shared<Autoencoder>(autoencoder_, clustering.precision, clustering.seed);
    if (has_encoder(*snapshots_)) {
      pretraining_ = take_encoder(*snapshots_, *model_.encoder);
      return;
    }
    run_.phase("pretrain");
    snapshots_->write();  // so that its checkpoints belong to a run with this setting
    const auto rows = clustering.pretrained.empty() ? rows_->hold_raw() : torch::Tensor();
    pretraining_ = prepare_encoder(run_.placement(), *model_.encoder, rows,
                                   {.pretrained = clustering.pretrained,
                                    .epochs = settings_.pretrain_epochs,
                                    .batch = settings_.pretrain_batch,
                                    .seed = clustering.seed,
                                    .checkpoints = snapshots_->pretraining()},
                                   [this](const EpochReport& epoch) {
                                     log_epoch(run_, epoch);
                                     return true;
                                   });
    if (pretraining_ && pretraining_->stopped_by == "request") {
      snapshots_->stop();
    }
    on_first_rank(world_, [&] {
      write_safetensors(run_.file("pretrained.safetensors"), named_parameters(*model_.encoder));
    });
    note_encoder(*snapshots_, *model_.encoder, pretraining_);
    snapshots_->save();
  }

  /// Curves of the file's features, behind which subspaces are straight.
  void learn_curves() {
    auto from = noted_curves(*snapshots_);
    if (from.done) {
      model_.curves = from.curves;
      return;
    }
    run_.phase("curves");
    const CurveEvents events{.step = [this](const CurveStep& step) { log_curves(run_, step); },
                             .round =
                                 [this](const CurveProgress& progress) {
                                   note_curves(*snapshots_, progress);
                                   snapshots_->save();
                                 }};
    model_.curves = learn_feature_curves(world_, rows_->partition(), rows_->raw(),
                                         landmark_options(rows_->raw().features()),
                                         draws_of_landmarks(), std::move(from), events);
  }

  /// Curves, encoder or reduction, appended constant, unit length.
  void prepare_rows() {
    model_.scale = options_.scale;
    if (learns_curves(settings_)) {
      learn_curves();
    } else if (autoencoder_.kind != EncoderKind::kNone) {
      prepare_network();
      if (!choice_.closed_form) {
        auto clustering = landmark_options(model_.encoder->latent_size());
        clustering.network = model_.encoder;
        landmark_labels_ = fine_tune_on_landmarks(world_, run_, *snapshots_, *rows_,
                                                  std::move(clustering), choice_.count);
      }
    } else if (rows_->raw().features() > kWideRows) {
      reduce_rows();
    }
    if (snapshots_->has("rows")) {
      const auto& rows = snapshots_->found("rows");
      rows.at("constant").get_to(model_.constant);
      if (rows.at("whitened").get<bool>()) {
        model_.whitening = snapshots_->tensor("rows", "whitening");
      }
    }
    rows_->make_unit_rows(model_);
    const bool whitened = model_.whitening.defined();
    snapshots_->note("rows", {{"constant", model_.constant}, {"whitened", whitened}},
                     whitened ? NamedTensors{{"whitening", model_.whitening}} : NamedTensors{});
  }

  void reduce_rows() {
    if (snapshots_->has("directions")) {
      model_.directions = snapshots_->tensor("directions", "directions");
      return;
    }
    run_.phase("directions");
    model_.directions = leading_directions(world_, rows_->partition(), rows_->raw(),
                                           kReducedFeatures, options_.clustering.seed)
                            .directions;
    snapshots_->note("directions", {{"count", kReducedFeatures}},
                     {{"directions", model_.directions}});
    snapshots_->save();
  }

  void announce_start() const {
    log_info("{} samples of {} numbers in {} clusters on {} ranks, {} threads each",
             rows_->partition().rows(), rows_->raw().features(), options_.clustering.clusters,
             world_.size(), torch::get_num_threads());
    if (model_.directions.defined()) {
      log_info("rows are reduced to their {} leading directions", model_.directions.size(1));
    }
    if (model_.curves.defined()) {
      log_info("features lie behind monotone curves that were learned (--encoder curves)");
    }
    if (model_.whitening.defined()) {
      log_info("features are whitened in part (--whiten-features)");
    }
    log_info("self-expression: {}; about {} MiB on a rank for its rows, which are {}",
             choice_.reason, std::max<std::int64_t>(1, rows_->bytes_of_rank() >> 20),
             rows_->held() ? "held" : "read again in every pass");
    if (run_.placement().on_device()) {
      log_info(
          "networks are trained and all rows compared on the GPU; landmarks are clustered on "
          "the host");
    }
  }

  /// For landmarks of so many features.
  ClusteringOptions landmark_options(std::int64_t features) const {
    auto clustering = options_.clustering;
    clustering.settings = landmark_settings(choice_.count, clustering.clusters, options_.overrides);
    clustering.settings.subspace_dim = std::min(clustering.settings.subspace_dim, features);
    clustering.closed_form = choice_.closed_form;
    const auto [rows, columns] = ProcessGrid::squarest(world_.size());
    clustering.grid_rows = rows;
    clustering.grid_columns = columns;
    return clustering;
  }

  LandmarkOptions draws_of_landmarks() const {
    // There is one network to be tuned: one draw's.
    const bool one = choice_.count == rows_->partition().rows() || landmark_labels_.defined();
    return {.landmarks = choice_.count,
            .draws = one ? 1 : options_.landmark_draws,
            .dimension = options_.overrides.subspace_dim.value_or(0),
            .labels = landmark_labels_};
  }

  void find_landmark_subspaces() {
    if (has_landmark_model(*snapshots_)) {
      landmarks_ = noted_landmark_model(*snapshots_);
      return;
    }
    LandmarkEvents events;
    events.phase = [this](const std::string& phase) { run_.phase(phase); };
    events.starts = [this](const StartLabels& starts) {
      note_starts(*snapshots_, starts);
      snapshots_->save();
    };
    landmarks_ = cluster_landmarks(
        world_, rows_->partition(), rows_->unit_on_host(),
        landmark_options(model_.encoder ? model_.encoder->latent_size() : rows_->unit().features()),
        draws_of_landmarks(), noted_starts(*snapshots_), events);
    note_landmark_model(*snapshots_, landmarks_);
    snapshots_->save();
    log_info("best start: {} (objective {:.4g}), dimension {}",
             landmarks_.candidates[landmarks_.best].start,
             landmarks_.candidates[landmarks_.best].objective, landmarks_.dimension);
  }

  void refine() {
    if (has_refined(*snapshots_)) {
      passes_ = take_refined(*snapshots_, model_);
      return;
    }
    run_.phase("refine");
    const auto options = refinement_of(landmarks_.dimension_stands_out);
    auto from = noted_refinement(*snapshots_);
    if (from.passes.empty()) {
      from.bases = landmarks_.bases;
    }
    auto refined =
        refine_subspaces(run_.placement(), rows_->unit(), from, options,
                         [this, options](const RefinementProgress& progress) {
                           const auto& pass = progress.passes.back();
                           run_.log({{"phase", "refine"},
                                     {"pass", pass.pass},
                                     {"objective", pass.objective},
                                     {"changed", pass.changed},
                                     {"refilled", pass.refilled}});
                           run_.progress("refine", options.most_passes, pass.pass,
                                         format_text("objective {:.4g}, {:.3g} % changed",
                                                     pass.objective, 100 * pass.changed));
                           if (!progress.done) {
                             snapshots_->step([&] { note_refinement(*snapshots_, progress); });
                           }
                         });
    passes_ = std::move(refined.passes);
    // Clusters are numbered by the order in which they appear; the labels are made once more.
    const std::int64_t first = rows_->partition().range(world_.rank()).begin;
    const auto order = torch::tensor(order_of_appearance(world_, refined.labels, refined.residuals,
                                                         first, options_.clustering.clusters),
                                     torch::kInt64);
    model_.bases = refined.bases.index_select(0, order).contiguous();
    model_.spectra = refined.spectra.index_select(0, order).contiguous();
    note_refined(*snapshots_, model_, passes_);
    snapshots_->save();
  }

  void measure() {
    if (!classes_) {
      return;
    }
    run_.phase("metrics");
    const auto confusion = confusion_matrix(world_, labelling_.labels, *classes_);
    if (confusion.sum().item<std::int64_t>() == 0) {
      run_.warn("no row has a reference label: there is nothing to measure by");
      return;
    }
    metrics_[""] = clustering_metrics(confusion);
    if (options_.clustering.ablation) {
      run_.phase("ablation");
      metrics_.merge(subspace_ablation(world_, rows_->partition(), rows_->raw(),
                                       rows_->unit_on_host(), *classes_, landmarks_.unrefined_bases,
                                       {.clusters = options_.clustering.clusters,
                                        .seed = options_.clustering.seed,
                                        .sample = options_.ablation_samples}));
    }
  }

  /// C, H, W of the samples; something else when they are no images.
  std::vector<std::int64_t> image_shape() const {
    if (!settings_.image_shape.empty()) {
      return settings_.image_shape;
    }
    auto shape = rows_->sample_shape();
    if (shape.size() == 2) {
      shape.insert(shape.begin(), 1);
    }
    return shape;
  }

  void finish() {
    summarize_landmark_run(run_, *rows_, choice_, landmarks_, passes_, labelling_);
    summarize_metrics(run_, metrics_);
    summarize_pretraining(run_, pretraining_, settings_.pretrain_batch);
    const auto residuals = residual_histogram(world_, labelling_.residuals);
    run_.summary()["metrics"]["objective"] = labelling_.objective;
    run_.summary()["metrics"]["suspected_outliers"] = residuals.suspected_outliers;
    const auto shape = image_shape();
    const SubspacePictures pictures{
        direction_pictures(model_, shape),
        residual_pictures(world_, rows_->partition(), rows_->raw(), labelling_.residuals, shape)};
    run_.finish([&](const nlohmann::json& whole) {
      return subspace_report(world_, rows_->partition(), rows_->unit_on_host(),
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
  double begin_;
  Run run_;
  std::optional<ClusteringSnapshots> snapshots_;
  std::optional<RunRows> rows_;
  std::optional<torch::Tensor> classes_;
  ClusteringSettings settings_;
  AutoencoderSpecification autoencoder_;
  std::optional<PretrainingResult> pretraining_;
  SubspaceModel model_;
  torch::Tensor landmark_labels_;  ///< of fine-tuning, own block of landmarks; undefined: none
  LandmarkModel landmarks_;
  std::vector<RefinementPass> passes_;
  RowLabelling labelling_;
  std::map<std::string, ClusteringMetrics> metrics_;
};

}  // namespace

ExitCode run_landmark_clustering(const Communicator& world, const RunOptions& run,
                                 const ClusteringRunOptions& options,
                                 const SelfExpressionChoice& choice) {
  return end_at_stop([&] { LandmarkRun(world, run, options, choice).run(); });
}

}  // namespace eigenscale
