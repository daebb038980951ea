#include "clustering_options.h"

#include <string>

namespace eigenscale {
namespace {

ClusteringOverrides overrides(const ProgramOptions& options) {
  ClusteringOverrides result;
  options.read("encoder", result.encoder);
  if (options.has("encoder-channels")) {
    result.channels = options.numbers("encoder-channels", ',', "numbers such as 10,20,30");
  }
  if (options.has("encoder-kernels")) {
    result.kernels = options.numbers("encoder-kernels", ',', "numbers such as 5,3,3");
  }
  if (options.has("image-shape")) {
    result.image_shape = options.numbers("image-shape", 'x', "a shape such as 1x32x32", 3);
  }
  if (options.has("norm")) {
    result.norm = options.is("norm", "l1") ? CoefficientNorm::kL1 : CoefficientNorm::kL2;
  }
  options.read("weight-coefficient", result.weight_coefficient);
  options.read("weight-self-expression", result.weight_self_expression);
  options.read("threshold", result.threshold);
  options.read("subspace-dim", result.subspace_dim);
  options.read("affinity-power", result.affinity_power);
  if (options.has("latents")) {
    result.linear_latents = options.get<std::string>("latents") == "linear";
  }
  options.read("pretrain-batch", result.pretrain_batch);
  options.read("pretrain-epochs", result.pretrain_epochs);
  options.read("finetune-steps", result.finetune_steps);
  return result;
}

/// With --assign everything but the data is the model's.
void refuse_what_the_model_says(const ProgramOptions& options) {
  const auto refuse = [](const std::string& name) {
    throw OptionError("--" + name + " is that of the model: leave it out with --assign");
  };
  for (const char* name :
       {"preset", "encoder", "encoder-channels", "encoder-kernels", "image-shape", "landmarks",
        "norm", "weight-coefficient", "weight-self-expression", "threshold", "subspace-dim",
        "affinity-power", "latents", "pretrain-batch", "pretrain-epochs", "finetune-steps",
        "pretrained", "grid", "whiten-features"}) {
    if (options.has(name)) {
      refuse(name);
    }
  }
  // These have defaults.
  if (options.get<double>("scale") != 1) {
    refuse("scale");
  }
  if (options.get<bool>("affine")) {
    refuse("affine");
  }
  if (!options.is("precision", "float")) {
    refuse("precision");
  }
  for (const char* name : {"self-expression", "refine"}) {
    if (!options.is(name, "auto")) {
      refuse(name);
    }
  }
}

/// A preset has an encoder unless the options say otherwise.
void require_encoder_for_weights(const ProgramOptions& options) {
  std::string encoder = options.has("preset") ? "conv" : "none";
  options.read("encoder", encoder);
  if (options.has("pretrained") && encoder != "conv" && encoder != "mlp") {
    throw OptionError(
        "--pretrained is the weights of an encoder, and there is none: give --encoder conv or mlp");
  }
}

}  // namespace

ClusteringRunOptions clustering_options(const ProgramOptions& options) {
  ClusteringRunOptions run;
  run.data = options.get<std::vector<std::string>>("data");
  options.read("labels", run.labels);
  options.read("scale", run.scale);
  options.read("preset", run.preset);
  run.overrides = overrides(options);
  if (options.has("grid")) {
    const auto grid = options.numbers("grid", 'x', "a grid such as 2x2", 2);
    run.grid = {static_cast<int>(grid[0]), static_cast<int>(grid[1])};
  }
  auto& clustering = run.clustering;
  options.read("assign", run.assign);
  if (run.assign.empty()) {
    clustering.clusters = options.get<std::int64_t>("clusters");
    require_encoder_for_weights(options);
  } else if (options.has("clusters")) {
    throw OptionError("--clusters is that of the model: leave it out with --assign");
  } else {
    refuse_what_the_model_says(options);
  }
  options.read("self-expression", run.self_expression);
  options.read("refine", run.refine);
  options.read("landmarks", run.landmarks);
  options.read("landmark-draws", run.landmark_draws);
  run.snapshots = {.interval = options.get<double>("checkpoint-interval"),
                   .time_limit = options.get<double>("time-limit")};
  run.affine = options.get<bool>("affine");
  options.read("whiten-features", run.whiten_features);
  clustering.ablation = !options.get<bool>("no-ablation");
  options.read("ablation-samples", run.ablation_samples);
  clustering.assignment = options.is("label-assignment", "discretize")
                              ? LabelAssignment::kDiscretize
                              : LabelAssignment::kKmeans;
  clustering.precision = options.is("precision", "float") ? torch::kFloat32 : torch::kFloat64;
  options.read("pretrained", clustering.pretrained);
  clustering.seed = options.seed();
  return run;
}

}  // namespace eigenscale
