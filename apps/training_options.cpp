#include "training_options.h"

namespace eigenscale {
namespace {

LearningRateSchedule schedule(const ProgramOptions& options, bool adam) {
  LearningRateSchedule result;
  const auto kind = options.get<std::string>("schedule");
  result.kind = kind == "constant" ? LearningRateSchedule::Kind::kConstant
                : kind == "step"   ? LearningRateSchedule::Kind::kStep
                                   : LearningRateSchedule::Kind::kCosine;
  result.base = adam ? 1e-3 : 0.1;
  options.read("learning-rate", result.base);
  result.warmup_epochs = options.get<double>("warmup-epochs");
  result.step_epochs = options.get<double>("step-epochs");
  result.factor = options.get<double>("step-factor");
  result.epochs = static_cast<double>(options.get<std::int64_t>("epochs"));
  return result;
}

ProximalOptions proximal_options(const ProgramOptions& options) {
  ProximalOptions proximal;
  proximal.group_sparsity = options.get<double>("group-sparsity");
  options.read("group-sparsity-first", proximal.group_sparsity_first);
  if (options.has("layer-sparsity")) {
    proximal.group_sparsity_of = options.named_numbers("layer-sparsity", 0.0);
  }
  proximal.sparse_mix = options.get<double>("sparse-mix");
  proximal.nuclear_norm = options.get<double>("nuclear-norm");
  proximal.exact = options.get<bool>("prox-exact");
  const auto every = options.get<std::string>("prox-every");
  if (every == "batch") {
    proximal.every = 1;
  } else if (every != "epoch") {
    proximal.every = options.numbers("prox-every", ',', "batch, epoch or a number of steps", 1)[0];
  }
  return proximal;
}

TrainerOptions trainer_options(const ProgramOptions& options) {
  constexpr double kMiB = 1024.0 * 1024;
  TrainerOptions trainer;
  trainer.epochs = options.get<std::int64_t>("epochs");
  trainer.batches.batch_size = options.get<std::int64_t>("batch-size");
  trainer.batches.seed = options.seed();
  trainer.batches.scale = options.get<double>("scale");
  trainer.batches.augmentation = {.crop = options.get<std::int64_t>("crop"),
                                  .flip = options.get<bool>("flip")};
  const bool adam = options.is("optimizer", "adam");
  trainer.optimizer.kind = adam ? OptimizerOptions::Kind::kAdam : OptimizerOptions::Kind::kSgd;
  trainer.optimizer.momentum = options.get<double>("momentum");
  trainer.optimizer.nesterov = options.get<bool>("nesterov");
  trainer.optimizer.weight_decay = options.get<double>("weight-decay");
  trainer.optimizer.sharded = options.get<bool>("sharded-optimizer");
  trainer.learning_rate = schedule(options, adam);
  trainer.proximal = proximal_options(options);
  trainer.shrink_every = options.get<std::int64_t>("shrink-every");
  if (trainer.shrink_every > 0 && trainer.optimizer.sharded) {
    throw OptionError("--shrink-every and --sharded-optimizer cannot be combined");
  }
  if (trainer.proximal.any() && !adam && trainer.optimizer.momentum >= 1) {
    throw OptionError("penalties need a --momentum below 1");
  }
  trainer.reducer.first_bucket_bytes =
      static_cast<std::int64_t>(options.get<double>("first-bucket") * kMiB);
  trainer.reducer.bucket_bytes = static_cast<std::int64_t>(options.get<double>("bucket") * kMiB);
  if (options.is("gradient-type", "bfloat16")) {
    trainer.reducer.wire_type = torch::kBFloat16;
  }
  trainer.reducer.deterministic = options.get<bool>("deterministic");
  trainer.reducer.progress_thread = options.get<bool>("progress-thread");
  trainer.clip_norm = options.get<double>("clip-norm");
  trainer.micro_batch = options.get<std::int64_t>("micro-batch");
  if (trainer.micro_batch > 0 && trainer.batches.batch_size % trainer.micro_batch != 0) {
    throw OptionError("--micro-batch is " + std::to_string(trainer.micro_batch) +
                      "; expected a divisor of the --batch-size of " +
                      std::to_string(trainer.batches.batch_size));
  }
  trainer.patience = options.get<std::int64_t>("patience");
  trainer.log_every = options.get<std::int64_t>("log-every");
  trainer.checkpoint_every = options.get<std::int64_t>("checkpoint-every");
  trainer.keep = options.get<std::int64_t>("keep-checkpoints");
  trainer.time_limit = options.get<double>("time-limit");
  return trainer;
}

nlohmann::json normalization(const ProgramOptions& options) {
  const auto kind = options.get<std::string>("normalization");
  if (kind == "none") {
    return nullptr;
  }
  nlohmann::json result = {{"kind", kind},
                           {"gradient_rule", options.get<std::string>("gradient-rule")},
                           {"groups", options.get<std::int64_t>("groups")}};
  if (options.get<bool>("relative-epsilon")) {
    if (kind != "zca") {
      throw OptionError("--relative-epsilon needs --normalization zca");
    }
    result["relative_epsilon"] = true;
  }
  return result;
}

}  // namespace

TrainingRunOptions training_options(const ProgramOptions& options) {
  TrainingRunOptions run;
  run.data = options.get<std::string>("data");
  run.labels = options.get<std::string>("labels");
  options.read("validation-data", run.validation_data);
  options.read("validation-labels", run.validation_labels);
  if (run.validation_data.empty() != run.validation_labels.empty()) {
    throw OptionError("--validation-data and --validation-labels belong together");
  }
  run.network = options.get<std::string>("network");
  run.normalization = normalization(options);
  if (options.has("image-shape")) {
    run.image_shape = options.numbers("image-shape", 'x', "a shape such as 3x32x32");
  }
  const auto precision = options.get<std::string>("precision");
  run.precision = precision == "float"    ? torch::kFloat32
                  : precision == "double" ? torch::kFloat64
                                          : torch::kBFloat16;
  run.tf32 = options.get<bool>("tf32");
  if (run.tf32 && !options.is("device", "cuda")) {
    throw OptionError("--tf32 needs --device cuda");
  }
  run.trainer = trainer_options(options);
  return run;
}

}  // namespace eigenscale
