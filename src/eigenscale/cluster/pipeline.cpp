#include "eigenscale/cluster/pipeline.h"

#include <set>
#include <utility>

#include "eigenscale/cluster/affinity.h"
#include "eigenscale/cluster/affinity_picture.h"
#include "eigenscale/cluster/closed_form.h"
#include "eigenscale/cluster/clustering_snapshots.h"
#include "eigenscale/cluster/discretization.h"
#include "eigenscale/cluster/encoder_preparation.h"
#include "eigenscale/cluster/encoder_snapshot.h"
#include "eigenscale/cluster/kmeans.h"
#include "eigenscale/cluster/landmark_codes.h"
#include "eigenscale/cluster/landmark_embedding.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/pipeline_snapshots.h"
#include "eigenscale/cluster/self_expression.h"
#include "eigenscale/cluster/spectral_embedding.h"
#include "eigenscale/comm/finite.h"
#include "eigenscale/linalg/singular_values.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kPictureCells = 400;

class Pipeline {
 public:
  Pipeline(const Placement& placement, const Samples& samples,
           const std::optional<torch::Tensor>& classes, const ClusteringOptions& options,
           const ClusteringEvents& events, ClusteringSnapshots* snapshots)
      : placement_(placement),
        world_(placement.control()),
        partition_(samples.partition),
        rows_(samples.rows.flatten(1)),
        classes_(classes),
        options_(options),
        events_(events),
        snapshots_(snapshots),
        autoencoder_(options.network ? options.network
                                     : std::make_shared<Autoencoder>(
                                           options.autoencoder, options.precision, options.seed)) {
    ProcessGrid::require(world_.size());
    const auto [rows, columns] = ProcessGrid::squarest(world_.size());
    spectral_grid_ = std::make_shared<const ProcessGrid>(world_, rows, columns);
  }

  ClusteringResult run() {
    prepare_network();
    if (snapshots_ != nullptr) {
      take_findings(*snapshots_, result_);
    }
    if (classes_) {
      run_baselines();
    }
    if (snapshots_ == nullptr ||
        !take_result(*snapshots_, partition_.range(world_.rank()), result_)) {
      find_labels();
    }
    return std::move(result_);
  }

 private:
  void prepare_network() {
    if (options_.network || options_.autoencoder.kind == EncoderKind::kNone) {
      return;
    }
    if (snapshots_ != nullptr && has_encoder(*snapshots_)) {
      result_.pretraining = take_encoder(*snapshots_, *autoencoder_);
      return;
    }
    events_.phase("pretrain");
    if (snapshots_ != nullptr) {
      snapshots_->write();  // so that its checkpoints belong to a run with this setting
    }
    result_.pretraining =
        prepare_encoder(placement_, *autoencoder_, rows_,
                        {.pretrained = options_.pretrained,
                         .epochs = options_.settings.pretrain_epochs,
                         .batch = options_.settings.pretrain_batch,
                         .seed = options_.seed,
                         .checkpoints = snapshots_ != nullptr ? snapshots_->pretraining()
                                                              : PretrainingCheckpoints()},
                        events_.epoch);
    if (snapshots_ != nullptr && result_.pretraining &&
        result_.pretraining->stopped_by == "request") {
      snapshots_->stop();
    }
    events_.pretrained(*autoencoder_);
    if (snapshots_ != nullptr) {
      note_encoder(*snapshots_, *autoencoder_, result_.pretraining);
      snapshots_->save();
    }
  }

  /// The network where tensors live, once its weights on the host are those to begin with.
  Autoencoder& network() {
    if (network_ == nullptr) {
      network_ = autoencoder_at(placement_, autoencoder_);
    }
    return *network_;
  }

  /// The samples as columns where tensors live, D x n_p.
  torch::Tensor columns() const { return placement_.to_device(rows_.t().contiguous(), "rows"); }

  /// On the host, n_p x d.
  torch::Tensor latents() {
    const torch::NoGradGuard no_grad;
    if (!placement_.on_device() || options_.autoencoder.kind == EncoderKind::kNone) {
      return autoencoder_->encode(rows_);
    }
    return placement_.to_host(network().encode_columns(columns()), "latents").t().contiguous();
  }

  std::int64_t leading() const { return options_.clusters * options_.settings.subspace_dim; }

  DistributedMatrix closed_form_coefficients() {
    events_.phase("self_expression");
    auto closed = closed_form(latents(), partition_, spectral_grid_, leading());
    result_.latent_singular_values = closed.singular_values;
    return std::move(closed.matrix);
  }

  SelfExpressionOptions coefficient_options() const {
    return {.norm = options_.settings.norm,
            .weight_coefficient = options_.settings.weight_coefficient,
            .initial = options_.settings.initial_coefficient,
            .adam = {.learning_rate = options_.settings.coefficient_learning_rate}};
  }

  /// Trains a layer of coefficients, which then frees what only training needs.
  template <typename Layer>
  void train(Layer& layer) {
    FineTuningProgress from;
    if (snapshots_ != nullptr) {
      from = take_fine_tuning(*snapshots_, network(), layer, partition_.range(world_.rank()));
    }
    fine_tune(placement_, network(), layer, columns(), options_.settings, {}, from,
              [&](const FineTuningStep& step, const FineTuningProgress& progress) {
                const bool go_on = events_.step(step);
                if (snapshots_ != nullptr) {
                  step_fine_tuning(*snapshots_, network(), layer, progress,
                                   step.step == options_.settings.finetune_steps);
                }
                return go_on;
              });
    layer.finish_training();
    bring_weights(placement_, network(), *autoencoder_);
    if (snapshots_ != nullptr && options_.network) {
      note_weights(*snapshots_, *autoencoder_);  // later phases do not need them, but their owner
    }
    result_.latent_singular_values = singular_values(latents(), partition_, spectral_grid_);
  }

  DistributedMatrix train() {
    events_.phase("finetune");
    const auto grid =
        std::make_shared<const ProcessGrid>(world_, options_.grid_rows, options_.grid_columns);
    SelfExpression self_expression(grid, partition_, options_.precision, coefficient_options(),
                                   placement_);
    train(self_expression);
    return self_expression.coefficients();
  }

  void assign_by_landmarks() {
    events_.phase("finetune");
    LandmarkCodes layer(placement_, partition_,
                        draw_landmarks(partition_.rows(), options_.landmarks, options_.seed),
                        options_.precision, coefficient_options());
    train(layer);
    const auto codes = layer.codes();
    const auto& landmarks = layer.landmarks();
    const auto embed = [&](const LandmarkAffinity& affinity) {
      return landmark_embedding(affinity, landmarks, partition_, spectral_grid_, options_.clusters);
    };
    if (classes_ && options_.ablation && options_.landmarks < partition_.rows()) {
      events_.phase("without_post_processing");
      measure("without_post_processing", [&] {
        const auto affinity = [&](RowRange range) {
          return codes.narrow(0, range.begin, range.size()).abs().to(torch::kFloat64);
        };
        return assign_labels(embed(affinity).rows);
      });
    }
    events_.phase("affinity");
    const auto coordinates = landmark_coordinates(codes, landmarks, partition_, spectral_grid_,
                                                  options_.settings, options_.clusters);
    events_.phase("embedding");
    const auto embedding = embed(cosine_affinity(coordinates, options_.settings.affinity_power));
    result_.labels = assign_labels(embedding.rows);
    measure("", [&] { return result_.labels; });
    result_.choices["affinity_solver"] = coordinates.solver;
    keep(embedding);

    events_.phase("pictures");
    const RowPartition blocks(options_.landmarks, world_.size());
    const auto mine = blocks.range(world_.rank());
    auto labels = torch::zeros({options_.landmarks}, torch::kInt64);
    const auto own = partition_.range(world_.rank());
    for (std::int64_t i = 0; i < std::ssize(landmarks); ++i) {
      if (landmarks[i] >= own.begin && landmarks[i] < own.end) {
        labels[i] = result_.labels[landmarks[i] - own.begin];
      }
    }
    world_.all_reduce(labels);  // one owner each and zeros elsewhere
    result_.affinity_picture = affinity_picture(
        eigenscale::cosine_affinity(coordinates.landmarks.narrow(0, mine.begin, mine.size()),
                                    blocks, spectral_grid_, options_.settings.affinity_power),
        labels, kPictureCells);
  }

  /// What is told of an embedding and of the clusters that were found in it.
  void keep(const SpectralEmbedding& embedding) {
    result_.embedding = embedding.rows;
    result_.eigenvalues = embedding.eigenvalues;
    result_.isolated = embedding.isolated;
    result_.components = embedding.components;
    result_.choices["embedding_solver"] = embedding.solver;
    auto sizes = torch::bincount(result_.labels, {}, options_.clusters);
    world_.all_reduce(sizes);
    result_.found_clusters = (sizes > 0).sum().item<std::int64_t>();
  }

  /// Labels of this rank from an affinity.
  torch::Tensor labels_of(DistributedMatrix affinity, SpectralEmbedding* keep = nullptr) {
    auto embedding = spectral_embedding(std::move(affinity), partition_, options_.clusters);
    auto labels = assign_labels(embedding.rows);
    if (keep != nullptr) {
      *keep = std::move(embedding);
    }
    return labels;
  }

  torch::Tensor assign_labels(const torch::Tensor& embedding) {
    require_finite(world_, embedding, "the spectral embedding",
                   "the affinity over- or underflows; scale the data by --scale");
    const auto assignment = options_.assignment == LabelAssignment::kDiscretize
                                ? discretize(world_, partition_, embedding, {.seed = options_.seed})
                                : kmeans(world_, partition_, normalize_rows(embedding),
                                         {.clusters = options_.clusters, .seed = options_.seed});
    result_.objective = assignment.objective;
    auto labels = assignment.labels;
    number_by_first_appearance(world_, labels, partition_.range(world_.rank()).begin,
                               options_.clusters);
    return labels;
  }

  /// Metrics of labels that are found only for them, unless they are known from a snapshot.
  void measure(const std::string& name, const std::function<torch::Tensor()>& find_labels) {
    if (classes_ && !result_.metrics.contains(name)) {
      result_.metrics[name] =
          clustering_metrics(confusion_matrix(world_, find_labels(), *classes_));
    }
  }

  void run_baselines() {
    const auto known = result_.metrics.size();
    events_.phase("baselines");
    measure("kmeans_baseline", [&] {
      return kmeans(world_, partition_, rows_,
                    {.clusters = options_.clusters, .seed = options_.seed})
          .labels;
    });
    if (options_.ablation && options_.landmarks == 0) {  // N x N
      measure("shallow_baseline", [&] { return shallow_labels(rows_); });
      if (options_.autoencoder.kind != EncoderKind::kNone) {
        measure("shallow_baseline_latents", [&] { return shallow_labels(latents()); });
      }
    }
    if (snapshots_ != nullptr && result_.metrics.size() > known) {
      save_baselines(*snapshots_, result_);
    }
  }

  torch::Tensor shallow_labels(const torch::Tensor& features) {
    auto closed = closed_form(features, partition_, spectral_grid_, leading());
    return labels_of(smooth_affinity(std::move(closed.matrix), spectral_grid_, partition_,
                                     options_.settings, options_.clusters, true)
                         .matrix);
  }

  void find_labels() {
    if (options_.landmarks > 0) {
      assign_by_landmarks();
    } else {
      embed(find_affinity());
    }
    if (snapshots_ != nullptr) {
      save_result(*snapshots_, result_);
    }
  }

  DistributedMatrix find_coefficients() {
    if (options_.cosines) {
      events_.phase("self_expression");
      return inner_products(latents(), partition_, spectral_grid_);
    }
    return options_.closed_form ? closed_form_coefficients() : train();
  }

  DistributedMatrix find_affinity() {
    if (snapshots_ != nullptr) {
      if (auto known = take_affinity(*snapshots_, spectral_grid_, partition_, world_.rank())) {
        return std::move(*known);
      }
    }
    const auto coefficients = find_coefficients();
    if (classes_ && options_.ablation) {
      events_.phase("without_post_processing");
      measure("without_post_processing",
              [&] { return labels_of(raw_affinity(coefficients, spectral_grid_)); });
    }
    events_.phase("affinity");
    const auto& settings = options_.settings;
    auto affinity =
        settings.neighbours > 0
            ? SmoothedAffinity{neighbour_affinity(coefficients, spectral_grid_, settings.neighbours,
                                                  settings.affinity_power),
                               "none"}
            : smooth_affinity(coefficients, spectral_grid_, partition_, settings, options_.clusters,
                              options_.closed_form);
    result_.choices["affinity_solver"] = affinity.solver;
    if (snapshots_ != nullptr) {
      save_affinity(*snapshots_, result_, affinity.matrix, partition_);
    }
    return std::move(affinity.matrix);
  }

  void embed(DistributedMatrix affinity) {
    events_.phase("embedding");
    SpectralEmbedding embedding;
    const auto matrix = affinity;
    result_.labels = labels_of(std::move(affinity), &embedding);
    measure("", [&] { return result_.labels; });
    keep(embedding);

    events_.phase("pictures");
    auto all = torch::empty({partition_.rows()}, torch::kInt64);
    world_.all_gather(all, result_.labels, partition_.counts());
    result_.affinity_picture = affinity_picture(matrix, all, kPictureCells);
  }

  Placement placement_;
  const Communicator& world_;
  RowPartition partition_;
  torch::Tensor rows_;
  std::optional<torch::Tensor> classes_;
  const ClusteringOptions& options_;
  const ClusteringEvents& events_;
  ClusteringSnapshots* snapshots_;            ///< null: none
  std::shared_ptr<Autoencoder> autoencoder_;  ///< on the host
  std::shared_ptr<Autoencoder> network_;      ///< where tensors live; null: not asked for yet
  std::shared_ptr<const ProcessGrid> spectral_grid_;
  ClusteringResult result_;
};

}  // namespace

ClusteringResult cluster_samples(const Placement& placement, const Samples& samples,
                                 const std::optional<torch::Tensor>& classes,
                                 const ClusteringOptions& options, const ClusteringEvents& events,
                                 ClusteringSnapshots* snapshots) {
  return Pipeline(placement, samples, classes, options, events, snapshots).run();
}

}  // namespace eigenscale
