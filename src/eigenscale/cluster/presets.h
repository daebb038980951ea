#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace eigenscale {

enum class CoefficientNorm { kL1, kL2 };
enum class LabelAssignment { kDiscretize, kKmeans };

/// From so many samples on a pass is many steps of pre-training.
constexpr std::int64_t kManySamples = 10000;

/// The settings of one clustering run that the paper fixes per data set (Ji et al., NeurIPS 2017,
/// and the authors' code).
struct ClusteringSettings {
  std::string encoder = "none";  // none, conv, mlp or curves
  std::vector<std::int64_t> channels;
  std::vector<std::int64_t> kernels;
  std::vector<std::int64_t> image_shape;  // C, H, W
  CoefficientNorm norm = CoefficientNorm::kL2;
  double weight_reconstruction = 0.5;
  double weight_coefficient = 1;
  double weight_self_expression = 1;
  double initial_coefficient = 0;
  double coefficient_learning_rate = 1e-3;
  double threshold = 0.2;
  std::int64_t subspace_dim = 10;
  double affinity_power = 1;
  /// Above 0 the affinity is that of so many neighbours (neighbour_affinity), not the paper's
  /// post-processing with its threshold and dimension.
  std::int64_t neighbours = 0;
  bool unit_diagonal = false;
  bool linear_latents = false;       // no ReLU behind a conv encoder's last layer
  std::int64_t pretrain_batch = 16;  // samples of a step of pre-training; 0: all, as the paper
  std::optional<std::int64_t> pretrain_epochs;  // exactly; else until its rules end it
  std::int64_t finetune_steps = 0;
};

/// [local] Whether a curve of each feature is learned in place of an autoencoder.
inline bool learns_curves(const ClusteringSettings& settings) {
  return settings.encoder == "curves";
}

/// What a user sets of them; the rest comes from a preset or from the number of samples.
struct ClusteringOverrides {
  std::optional<std::string> encoder;
  std::optional<std::vector<std::int64_t>> channels;
  std::optional<std::vector<std::int64_t>> kernels;
  std::optional<std::vector<std::int64_t>> image_shape;
  std::optional<CoefficientNorm> norm;
  std::optional<double> weight_coefficient;
  std::optional<double> weight_self_expression;
  std::optional<double> threshold;
  std::optional<std::int64_t> subspace_dim;
  std::optional<double> affinity_power;
  std::optional<bool> linear_latents;
  std::optional<std::int64_t> pretrain_batch;
  std::optional<std::int64_t> pretrain_epochs;
  std::optional<std::int64_t> finetune_steps;
};

/// `settings` with what `overrides` sets.
ClusteringSettings with_overrides(ClusteringSettings settings,
                                  const ClusteringOverrides& overrides);

/// The settings of `name` for K clusters. Throws OptionError for an unknown name.
ClusteringSettings preset(const std::string& name, std::int64_t clusters);

/// Settings without a preset, for N samples in K clusters: label-free defaults (docs/clustering.md
/// states each rule). `landmarks`: how many samples the coefficients are on; 0: on all.
ClusteringSettings default_settings(std::int64_t samples, std::int64_t clusters,
                                    std::int64_t landmarks = 0);

/// Those for m landmarks of unit length in K clusters, with what `overrides` sets: 30 neighbours
/// and power 8; the paper's post-processing where a threshold is given.
ClusteringSettings landmark_settings(std::int64_t landmarks, std::int64_t clusters,
                                     const ClusteringOverrides& overrides);

}  // namespace eigenscale
