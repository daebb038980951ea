#include "eigenscale/cluster/clustering_setting.h"

namespace eigenscale {

nlohmann::json clustering_setting(const ClusteringRunOptions& options,
                                  const ClusteringSettings& settings,
                                  const SelfExpressionChoice& choice, std::int64_t samples,
                                  const std::vector<std::int64_t>& sample_shape) {
  const auto& clustering = options.clustering;
  const nlohmann::json data = {{"samples", samples}, {"sample_shape", sample_shape}};
  const nlohmann::json chosen = {
      {"scale", options.scale},
      {"clusters", clustering.clusters},
      {"seed", clustering.seed},
      {"precision", clustering.precision == torch::kFloat64 ? "double" : "float"},
      {"self-expression", choice.reason},
      {"landmark-draws", choice.landmarks ? options.landmark_draws : 0},
      {"affine", options.affine},
      {"whiten-features",
       options.whiten_features ? nlohmann::json(*options.whiten_features) : nlohmann::json()},
      {"encoder", settings.encoder},
      {"encoder-channels", settings.channels},
      {"encoder-kernels", settings.kernels},
      {"image-shape", settings.image_shape},
      {"latents", settings.linear_latents ? "linear" : "relu"},
      {"pretrained", clustering.pretrained},
      {"pretrain-batch", settings.pretrain_batch},
      {"pretrain-epochs",
       settings.pretrain_epochs ? nlohmann::json(*settings.pretrain_epochs) : nlohmann::json()},
      {"norm", settings.norm == CoefficientNorm::kL1 ? "l1" : "l2"},
      {"weight-reconstruction", settings.weight_reconstruction},
      {"weight-coefficient", settings.weight_coefficient},
      {"weight-self-expression", settings.weight_self_expression},
      {"initial-coefficient", settings.initial_coefficient},
      {"coefficient-learning-rate", settings.coefficient_learning_rate},
      {"finetune-steps", settings.finetune_steps},
      {"threshold", settings.threshold},
      {"subspace-dim", options.overrides.subspace_dim.value_or(0)},
      {"affinity-power", settings.affinity_power},
      {"unit-diagonal", settings.unit_diagonal},
      {"label-assignment",
       clustering.assignment == LabelAssignment::kKmeans ? "kmeans" : "discretize"}};
  return {{"data", data}, {"options", chosen}};
}

}  // namespace eigenscale
