#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace eigenscale {

enum class CoefficientNorm { kL1, kL2 };
enum class LabelAssignment { kDiscretize, kKmeans };

/// The settings of one clustering run that the paper fixes per data set (Ji et al., NeurIPS 2017,
/// and the authors' code).
struct ClusteringSettings {
  std::string encoder = "none";  // none, conv or mlp
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
  bool unit_diagonal = false;
  std::int64_t pretrain_epochs = 0;  // the most; the stop rule may end it before
  std::int64_t finetune_steps = 0;
};

/// The settings of `name` for K clusters. Throws OptionError for an unknown name.
ClusteringSettings preset(const std::string& name, std::int64_t clusters);

/// Settings without a preset, for N samples in K clusters: label-free defaults (docs/clustering.md
/// states each rule).
ClusteringSettings default_settings(std::int64_t samples, std::int64_t clusters);

}  // namespace eigenscale
