#include "eigenscale/cluster/pipeline.h"

#include <set>
#include <utility>

#include "eigenscale/cluster/affinity.h"
#include "eigenscale/cluster/affinity_picture.h"
#include "eigenscale/cluster/closed_form.h"
#include "eigenscale/cluster/discretization.h"
#include "eigenscale/cluster/encoder_preparation.h"
#include "eigenscale/cluster/kmeans.h"
#include "eigenscale/cluster/landmark_codes.h"
#include "eigenscale/cluster/landmark_embedding.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/self_expression.h"
#include "eigenscale/cluster/spectral_embedding.h"
#include "eigenscale/comm/finite.h"
#include "eigenscale/linalg/singular_values.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kPictureCells = 400;

class Pipeline {
 public:
  Pipeline(const Communicator& world, const Samples& samples,
           const std::optional<torch::Tensor>& classes, const ClusteringOptions& options,
           const ClusteringEvents& events)
      : world_(world),
        partition_(samples.partition),
        rows_(samples.rows.flatten(1)),
        classes_(classes),
        options_(options),
        events_(events),
        autoencoder_(options.network ? options.network
                                     : std::make_shared<Autoencoder>(
                                           options.autoencoder, options.precision, options.seed)) {
    ProcessGrid::require(world.size());
    const auto [rows, columns] = ProcessGrid::squarest(world.size());
    spectral_grid_ = std::make_shared<const ProcessGrid>(world, rows, columns);
  }

  ClusteringResult run() {
    prepare_network();
    if (classes_) {
      run_baselines();
    }
    if (options_.landmarks > 0) {
      assign_by_landmarks();
    } else if (options_.cosines) {
      events_.phase("self_expression");
      assign(inner_products(latents(), partition_, spectral_grid_));
    } else {
      assign(options_.closed_form ? closed_form_coefficients() : train());
    }
    return std::move(result_);
  }

 private:
  void prepare_network() {
    if (options_.network || options_.autoencoder.kind == EncoderKind::kNone) {
      return;
    }
    events_.phase("pretrain");
    result_.pretraining = prepare_encoder(world_, *autoencoder_, rows_,
                                          {.pretrained = options_.pretrained,
                                           .most_epochs = options_.settings.pretrain_epochs,
                                           .stop_on_plateau = options_.stop_on_plateau,
                                           .batch = options_.settings.pretrain_batch,
                                           .seed = options_.seed},
                                          events_.epoch);
    events_.pretrained(*autoencoder_);
  }

  torch::Tensor latents() {
    const torch::NoGradGuard no_grad;
    return autoencoder_->encode(rows_);
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
    fine_tune(world_, *autoencoder_, layer, rows_.t().contiguous(), options_.settings, {},
              events_.step);
    layer.finish_training();
    result_.latent_singular_values = singular_values(latents(), partition_, spectral_grid_);
  }

  DistributedMatrix train() {
    events_.phase("finetune");
    const auto grid =
        std::make_shared<const ProcessGrid>(world_, options_.grid_rows, options_.grid_columns);
    SelfExpression self_expression(grid, partition_, options_.precision, coefficient_options());
    train(self_expression);
    return self_expression.coefficients();
  }

  void assign_by_landmarks() {
    events_.phase("finetune");
    LandmarkCodes layer(world_, partition_,
                        draw_landmarks(partition_.rows(), options_.landmarks, options_.seed),
                        options_.precision, coefficient_options());
    train(layer);
    const auto& landmarks = layer.landmarks();
    const auto embed = [&](const LandmarkAffinity& affinity) {
      return landmark_embedding(affinity, landmarks, partition_, spectral_grid_, options_.clusters);
    };
    if (classes_ && options_.ablation && options_.landmarks < partition_.rows()) {
      events_.phase("without_post_processing");
      measure(
          "without_post_processing",
          assign_labels(
              embed([&](RowRange range) {
                return layer.codes().narrow(0, range.begin, range.size()).abs().to(torch::kFloat64);
              }).rows));
    }
    events_.phase("affinity");
    const auto coordinates = landmark_coordinates(
        layer.codes(), landmarks, partition_, spectral_grid_, options_.settings, options_.clusters);
    events_.phase("embedding");
    const auto embedding = embed(cosine_affinity(coordinates, options_.settings.affinity_power));
    result_.labels = assign_labels(embedding.rows);
    measure("", result_.labels);
    keep(embedding, coordinates.solver);

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
  void keep(const SpectralEmbedding& embedding, const std::string& affinity_solver) {
    result_.embedding = embedding.rows;
    result_.eigenvalues = embedding.eigenvalues;
    result_.isolated = embedding.isolated;
    result_.components = embedding.components;
    result_.choices["affinity_solver"] = affinity_solver;
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

  void measure(const std::string& name, const torch::Tensor& labels) {
    if (classes_) {
      result_.metrics[name] = clustering_metrics(confusion_matrix(world_, labels, *classes_));
    }
  }

  void run_baselines() {
    events_.phase("baselines");
    measure("kmeans_baseline", kmeans(world_, partition_, rows_,
                                      {.clusters = options_.clusters, .seed = options_.seed})
                                   .labels);
    if (!options_.ablation) {
      return;
    }
    if (options_.landmarks > 0) {
      return;  // what follows is N x N
    }
    measure("shallow_baseline", shallow_labels(rows_));
    if (options_.autoencoder.kind != EncoderKind::kNone) {
      measure("shallow_baseline_latents", shallow_labels(latents()));
    }
  }

  torch::Tensor shallow_labels(const torch::Tensor& features) {
    auto closed = closed_form(features, partition_, spectral_grid_, leading());
    return labels_of(smooth_affinity(std::move(closed.matrix), spectral_grid_, partition_,
                                     options_.settings, options_.clusters, true)
                         .matrix);
  }

  void assign(const DistributedMatrix& coefficients) {
    if (classes_ && options_.ablation) {
      events_.phase("without_post_processing");
      measure("without_post_processing", labels_of(raw_affinity(coefficients, spectral_grid_)));
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
    events_.phase("embedding");
    SpectralEmbedding embedding;
    const auto matrix = affinity.matrix;
    result_.labels = labels_of(std::move(affinity.matrix), &embedding);
    measure("", result_.labels);
    keep(embedding, affinity.solver);

    events_.phase("pictures");
    auto all = torch::empty({partition_.rows()}, torch::kInt64);
    world_.all_gather(all, result_.labels, partition_.counts());
    result_.affinity_picture = affinity_picture(matrix, all, kPictureCells);
  }

  const Communicator& world_;
  RowPartition partition_;
  torch::Tensor rows_;
  std::optional<torch::Tensor> classes_;
  const ClusteringOptions& options_;
  const ClusteringEvents& events_;
  std::shared_ptr<Autoencoder> autoencoder_;
  std::shared_ptr<const ProcessGrid> spectral_grid_;
  ClusteringResult result_;
};

}  // namespace

ClusteringResult cluster_samples(const Communicator& world, const Samples& samples,
                                 const std::optional<torch::Tensor>& classes,
                                 const ClusteringOptions& options, const ClusteringEvents& events) {
  return Pipeline(world, samples, classes, options, events).run();
}

}  // namespace eigenscale
