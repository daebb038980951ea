#include "eigenscale/cluster/pipeline.h"

#include <set>
#include <utility>

#include "eigenscale/cluster/affinity.h"
#include "eigenscale/cluster/affinity_picture.h"
#include "eigenscale/cluster/closed_form.h"
#include "eigenscale/cluster/discretization.h"
#include "eigenscale/cluster/encoder_preparation.h"
#include "eigenscale/cluster/kmeans.h"
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
        autoencoder_(options.autoencoder, options.precision, options.seed) {
    ProcessGrid::require(world.size());
    const auto [rows, columns] = ProcessGrid::squarest(world.size());
    spectral_grid_ = std::make_shared<const ProcessGrid>(world, rows, columns);
  }

  ClusteringResult run() {
    prepare_network();
    if (classes_) {
      run_baselines();
    }
    if (options_.cosines) {
      events_.phase("self_expression");
      assign(inner_products(latents(), partition_, spectral_grid_));
    } else {
      assign(options_.closed_form ? closed_form_coefficients() : train());
    }
    return std::move(result_);
  }

 private:
  void prepare_network() {
    if (options_.autoencoder.kind == EncoderKind::kNone) {
      return;
    }
    events_.phase("pretrain");
    result_.pretraining = prepare_encoder(world_, autoencoder_, rows_,
                                          {.pretrained = options_.pretrained,
                                           .most_epochs = options_.settings.pretrain_epochs,
                                           .stop_on_plateau = options_.stop_on_plateau,
                                           .batch = options_.settings.pretrain_batch,
                                           .seed = options_.seed},
                                          events_.epoch);
    events_.pretrained(autoencoder_);
  }

  torch::Tensor latents() {
    const torch::NoGradGuard no_grad;
    return autoencoder_.encode(rows_);
  }

  std::int64_t leading() const { return options_.clusters * options_.settings.subspace_dim; }

  DistributedMatrix closed_form_coefficients() {
    events_.phase("self_expression");
    auto closed = closed_form(latents(), partition_, spectral_grid_, leading());
    result_.latent_singular_values = closed.singular_values;
    return std::move(closed.matrix);
  }

  DistributedMatrix train() {
    events_.phase("finetune");
    const auto grid =
        std::make_shared<const ProcessGrid>(world_, options_.grid_rows, options_.grid_columns);
    SelfExpression self_expression(
        grid, partition_, options_.precision,
        {.norm = options_.settings.norm,
         .weight_coefficient = options_.settings.weight_coefficient,
         .initial = options_.settings.initial_coefficient,
         .adam = {.learning_rate = options_.settings.coefficient_learning_rate}});
    fine_tune(world_, autoencoder_, self_expression, rows_.t().contiguous(), options_.settings, {},
              events_.step);
    self_expression.finish_training();
    result_.latent_singular_values = singular_values(latents(), partition_, spectral_grid_);
    return self_expression.coefficients();
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

    events_.phase("pictures");
    auto all = torch::empty({partition_.rows()}, torch::kInt64);
    world_.all_gather(all, result_.labels, partition_.counts());
    result_.found_clusters = std::get<0>(at::_unique(all)).numel();
    result_.affinity_picture = affinity_picture(matrix, all, kPictureCells);
    result_.embedding = embedding.rows;
    result_.eigenvalues = embedding.eigenvalues;
    result_.isolated = embedding.isolated;
    result_.components = embedding.components;
    result_.choices["affinity_solver"] = affinity.solver;
    result_.choices["embedding_solver"] = embedding.solver;
  }

  const Communicator& world_;
  RowPartition partition_;
  torch::Tensor rows_;
  std::optional<torch::Tensor> classes_;
  const ClusteringOptions& options_;
  const ClusteringEvents& events_;
  Autoencoder autoencoder_;
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
