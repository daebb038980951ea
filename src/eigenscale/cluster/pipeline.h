#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "eigenscale/cluster/fine_tuning.h"
#include "eigenscale/cluster/metrics.h"
#include "eigenscale/cluster/presets.h"
#include "eigenscale/comm/placement.h"
#include "eigenscale/data/samples.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/nn/autoencoder.h"
#include "eigenscale/train/pretraining.h"

namespace eigenscale {

class ClusteringSnapshots;

struct ClusteringOptions {
  std::int64_t clusters = 2;
  ClusteringSettings settings;
  AutoencoderSpecification autoencoder;
  /// An autoencoder that is trained already, and fine-tuned in place; null: one of that
  /// specification is made and prepared.
  std::shared_ptr<Autoencoder> network;
  /// m: codes of all samples on so many of them instead of coefficients of all on all; 0: not.
  std::int64_t landmarks = 0;
  /// True: C is the closed form on the latents instead of trained coefficients.
  bool closed_form = false;
  /// True: C is the latents' inner products Z Z^T, the closed form of an unbounded ridge but for
  /// its scale; before closed_form.
  bool cosines = false;
  LabelAssignment assignment = LabelAssignment::kDiscretize;
  torch::ScalarType precision = torch::kFloat32;
  /// Also cluster by the parts of the method alone, each an N x N problem of its own.
  bool ablation = true;
  /// Safetensors file of a pre-trained autoencoder; empty to pre-train.
  std::string pretrained;
  std::uint64_t seed = 1;
  /// Grid of the coefficients; that of the spectral phase is the squarest.
  int grid_rows = 1;
  int grid_columns = 1;
};

/// What a run tells while it works. All are called on every rank with the same values.
struct ClusteringEvents {
  std::function<void(const std::string& phase)> phase;
  std::function<bool(const EpochReport&)> epoch;
  std::function<bool(const FineTuningStep&)> step;
  /// After pre-training, before the coefficients.
  std::function<void(Autoencoder&)> pretrained;
};

struct ClusteringResult {
  /// This rank's labels (int64, numbered by first appearance) and embedding (n_p x K, double).
  torch::Tensor labels;
  torch::Tensor embedding;
  torch::Tensor eigenvalues;
  /// Singular values of the latents that the coefficients express, descending; on all ranks.
  torch::Tensor latent_singular_values;
  /// Mean affinity between cells of samples (of landmarks, where there are codes on them) in
  /// cluster order, cells x cells; on all ranks.
  torch::Tensor affinity_picture;
  double objective = 0;
  std::int64_t isolated = 0;
  std::int64_t components = 0;
  std::int64_t found_clusters = 0;
  std::optional<PretrainingResult> pretraining;
  /// By name: "" (the result), "without_post_processing", "shallow_baseline" (closed form on the
  /// raw data), "shallow_baseline_latents" (on the pre-trained latents), "kmeans_baseline". Only
  /// with reference labels.
  std::map<std::string, ClusteringMetrics> metrics;
  std::map<std::string, std::string> choices;
};

/// [collective] Deep subspace clustering (Ji et al., NeurIPS 2017) from samples to labels:
/// pre-training, self-expression, affinity, spectral embedding, label assignment, and with
/// reference labels (own rows, int64) the metrics of the result and of its ablation. With landmarks
/// there is no N x N object: m rows of m coefficients each are the largest, and they are
/// distributed. Networks and coefficients are trained
/// where `placement` says, all else happens on the host, where samples and results are. Where there
/// are `snapshots` it goes on from them, writes its own, and may end by ClusteringStopped.
ClusteringResult cluster_samples(const Placement& placement, const Samples& samples,
                                 const std::optional<torch::Tensor>& classes,
                                 const ClusteringOptions& options, const ClusteringEvents& events,
                                 ClusteringSnapshots* snapshots = nullptr);

}  // namespace eigenscale
