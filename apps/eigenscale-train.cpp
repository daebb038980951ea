// Data-parallel training of a network on labelled samples: model, metrics, checkpoints, a report.
#include "eigenscale/comm/agreed_options.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/device.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/options.h"
#include "eigenscale/core/stop_signals.h"
#include "eigenscale/train/training_run.h"

namespace {

namespace po = boost::program_options;
using namespace eigenscale;

// clang-format off
ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-train", "data-parallel training, on one rank or many");
  options.group("Data")
      ("data", po::value<std::string>(), "samples: .npy, .h5:dataset, IDX[.gz], CIFAR .bin")
      ("labels", po::value<std::string>(), "their classes, 0 to K - 1")
      ("validation-data", po::value<std::string>(), "samples that only measure")
      ("validation-labels", po::value<std::string>(), "their classes")
      ("scale", po::value<double>()->default_value(1), "factor on every value (bytes: 0.00392157)")
      ("image-shape", po::value<std::string>(), "of flat samples that are images (3x32x32)")
      ("crop", po::value<std::int64_t>()->default_value(0),
       "augmentation: surround by so many zeros and cut at random")
      ("flip", po::bool_switch(), "augmentation: mirror half of the images")
      ("overwrite", po::bool_switch(), "replace an earlier run in --output")
      ("resume", po::bool_switch(), "go on from the newest checkpoint in --output, if there is one");
  options.group("Network")
      ("network", po::value<std::string>()->default_value("cnn"),
       "mlp[:WIDTH,...], cnn[:CHANNELS,...], lenet, resnet18, resnet34, resnet50 or SPEC.json")
      ("normalization", po::value<std::string>()->default_value("batch"),
       "of a named network's first layer: batch, zca, pca-denoise; none: of all layers")
      ("gradient-rule", po::value<std::string>()->default_value("matrix-function"),
       "of zca, pca-denoise: matrix-function, taylor, power-iteration, clip, pade or exact")
      ("groups", po::value<std::int64_t>()->default_value(1), "of channels, whitened separately")
      ("relative-epsilon", po::bool_switch(),
       "zca: the 1e-4 that is added to eigenvalues is a share of their mean (data of any scale)")
      ("precision", po::value<std::string>()->default_value("float"), "float, double or bfloat16");
  options.group("Method")
      ("epochs", po::value<std::int64_t>()->default_value(10), "passes over the samples")
      ("batch-size", po::value<std::int64_t>()->default_value(128), "samples of all ranks together")
      ("micro-batch", po::value<std::int64_t>()->default_value(0),
       "samples of all ranks that are taken at once, gradients add up; a divisor of --batch-size; "
       "0: all")
      ("optimizer", po::value<std::string>()->default_value("sgd"), "sgd or adam")
      ("learning-rate", po::value<double>(), "without it 0.1 for sgd and 0.001 for adam")
      ("momentum", po::value<double>()->default_value(0.9), "of sgd")
      ("nesterov", po::bool_switch(), "sgd with Nesterov's momentum")
      ("weight-decay", po::value<double>()->default_value(0), "adam: decoupled (AdamW)")
      ("schedule", po::value<std::string>()->default_value("cosine"), "constant, step or cosine")
      ("warmup-epochs", po::value<double>()->default_value(0), "learning rate rises linearly")
      ("step-epochs", po::value<double>()->default_value(30), "of --schedule step")
      ("step-factor", po::value<double>()->default_value(0.1), "of --schedule step")
      ("clip-norm", po::value<double>()->default_value(0), "largest gradient norm; 0: any")
      ("patience", po::value<std::int64_t>()->default_value(0),
       "end after so many epochs without a better validation; 0: never");
  options.group("Smaller networks")
      ("group-sparsity", po::value<double>()->default_value(0),
       "penalty on the norm of each neuron; docs/compression.md has strengths")
      ("group-sparsity-first", po::value<double>(), "the same for the first three layers")
      ("layer-sparsity", po::value<std::string>(),
       "the same for layers by name: conv1=1e-5,linear*=1e-4")
      ("sparse-mix", po::value<double>()->default_value(0),
       "share of the penalty that falls on single weights, 0 to 1")
      ("nuclear-norm", po::value<double>()->default_value(0), "penalty on the rank of each layer")
      ("prox-every", po::value<std::string>()->default_value("epoch"),
       "when penalties act: batch, epoch or a number of steps")
      ("shrink-every", po::value<std::int64_t>()->default_value(0),
       "epochs after which dead neurons leave the network, which makes training faster; 0: never")
      ("prox-exact", po::bool_switch(), "both penalties at once instead of rank first");
  options.group("Checkpoints")
      ("checkpoint-every", po::value<std::int64_t>()->default_value(0), "steps; 0: each epoch")
      ("keep-checkpoints", po::value<std::int64_t>()->default_value(2), "the last so many")
      ("time-limit", po::value<double>()->default_value(0),
       "seconds after which to write a checkpoint and end with 75; 0: none");
  options.group("Execution")
      ("deterministic", po::bool_switch(),
       "sum gradients in rank order: no bit depends on the size of messages")
      ("first-bucket", po::value<double>()->default_value(1), "MiB of the first message")
      ("bucket", po::value<double>()->default_value(25), "MiB of the others")
      ("gradient-type", po::value<std::string>()->default_value("own"),
       "of gradients on the wire: own or bfloat16")
      ("sharded-optimizer", po::bool_switch(), "each rank keeps 1/P of the optimiser's state")
      ("progress-thread", po::bool_switch(),
       "a thread drives the messages; for networks, where a core is to spare")
      ("log-every", po::value<std::int64_t>()->default_value(50), "steps between lines of metrics")
      ("collective-timeout", po::value<double>()->default_value(1800),
       "seconds after which a collective counts as dead; 0 for never")
      ("progress", po::value<std::string>()->default_value("auto"), "auto, always or never")
      ("trace", po::bool_switch(), "write trace.json for chrome://tracing, all ranks");
  return options;
}
// clang-format on

LearningRateSchedule schedule(const ProgramOptions& options, bool adam) {
  LearningRateSchedule result;
  const auto kind = options.choice("schedule", {"constant", "step", "cosine"});
  result.kind = kind == "constant" ? LearningRateSchedule::Kind::kConstant
                : kind == "step"   ? LearningRateSchedule::Kind::kStep
                                   : LearningRateSchedule::Kind::kCosine;
  result.base = adam ? 1e-3 : 0.1;
  if (options.has("learning-rate")) {
    result.base = options.at_least("learning-rate", 0.0);
  }
  result.warmup_epochs = options.at_least("warmup-epochs", 0.0);
  result.step_epochs = options.at_least("step-epochs", 1e-9);
  result.factor = options.at_least("step-factor", 0.0);
  result.epochs = static_cast<double>(options.get<std::int64_t>("epochs"));
  return result;
}

ProximalOptions proximal_options(const ProgramOptions& options) {
  ProximalOptions proximal;
  proximal.group_sparsity = options.at_least("group-sparsity", 0.0);
  if (options.has("group-sparsity-first")) {
    proximal.group_sparsity_first = options.at_least("group-sparsity-first", 0.0);
  }
  if (options.has("layer-sparsity")) {
    proximal.group_sparsity_of = options.named_numbers("layer-sparsity", 0.0);
  }
  proximal.sparse_mix = options.at_least("sparse-mix", 0.0);
  if (proximal.sparse_mix > 1) {
    throw OptionError("--sparse-mix is a share; expected 0 to 1");
  }
  proximal.nuclear_norm = options.at_least("nuclear-norm", 0.0);
  proximal.exact = options.get<bool>("prox-exact");
  const auto every = options.get<std::string>("prox-every");
  if (every == "batch") {
    proximal.every = 1;
  } else if (every != "epoch") {
    const auto steps = options.numbers("prox-every", ',', "batch, epoch or a number of steps");
    if (steps.size() != 1) {
      throw OptionError("--prox-every is '" + every + "'; expected batch, epoch or a number");
    }
    proximal.every = steps[0];
  }
  return proximal;
}

TrainerOptions trainer_options(const ProgramOptions& options) {
  constexpr double kMiB = 1024.0 * 1024;
  TrainerOptions trainer;
  trainer.epochs = options.at_least("epochs", std::int64_t{1});
  trainer.batches.batch_size = options.at_least("batch-size", std::int64_t{1});
  trainer.batches.seed = static_cast<std::uint64_t>(options.get<std::int64_t>("seed"));
  trainer.batches.scale = options.get<double>("scale");
  trainer.batches.augmentation = {.crop = options.at_least("crop", std::int64_t{0}),
                                  .flip = options.get<bool>("flip")};
  const bool adam = options.choice("optimizer", {"sgd", "adam"}) == "adam";
  trainer.optimizer.kind = adam ? OptimizerOptions::Kind::kAdam : OptimizerOptions::Kind::kSgd;
  trainer.optimizer.momentum = options.at_least("momentum", 0.0);
  trainer.optimizer.nesterov = options.get<bool>("nesterov");
  trainer.optimizer.weight_decay = options.at_least("weight-decay", 0.0);
  trainer.optimizer.sharded = options.get<bool>("sharded-optimizer");
  trainer.learning_rate = schedule(options, adam);
  trainer.proximal = proximal_options(options);
  trainer.shrink_every = options.at_least("shrink-every", std::int64_t{0});
  if (trainer.shrink_every > 0 && trainer.optimizer.sharded) {
    throw OptionError("--shrink-every and --sharded-optimizer cannot be combined");
  }
  if (trainer.proximal.any() && !adam && trainer.optimizer.momentum >= 1) {
    throw OptionError("penalties need a --momentum below 1");
  }
  trainer.reducer.first_bucket_bytes =
      static_cast<std::int64_t>(options.at_least("first-bucket", 0.0) * kMiB);
  trainer.reducer.bucket_bytes = static_cast<std::int64_t>(options.at_least("bucket", 0.0) * kMiB);
  if (options.choice("gradient-type", {"own", "bfloat16"}) == "bfloat16") {
    trainer.reducer.wire_type = torch::kBFloat16;
  }
  trainer.reducer.deterministic = options.get<bool>("deterministic");
  trainer.reducer.progress_thread = options.get<bool>("progress-thread");
  trainer.clip_norm = options.at_least("clip-norm", 0.0);
  trainer.micro_batch = options.at_least("micro-batch", std::int64_t{0});
  if (trainer.micro_batch > 0 && trainer.batches.batch_size % trainer.micro_batch != 0) {
    throw OptionError("--micro-batch is " + std::to_string(trainer.micro_batch) +
                      "; expected a divisor of the --batch-size of " +
                      std::to_string(trainer.batches.batch_size));
  }
  trainer.patience = options.at_least("patience", std::int64_t{0});
  trainer.log_every = options.at_least("log-every", std::int64_t{1});
  trainer.checkpoint_every = options.at_least("checkpoint-every", std::int64_t{0});
  trainer.keep = options.at_least("keep-checkpoints", std::int64_t{1});
  trainer.time_limit = options.at_least("time-limit", 0.0);
  return trainer;
}

nlohmann::json normalization(const ProgramOptions& options) {
  const auto kind = options.choice("normalization", {"batch", "zca", "pca-denoise", "none"});
  const auto rule = options.choice(
      "gradient-rule", {"matrix-function", "taylor", "power-iteration", "clip", "pade", "exact"});
  if (kind == "none") {
    return nullptr;
  }
  nlohmann::json result = {{"kind", kind},
                           {"gradient_rule", rule},
                           {"groups", options.at_least("groups", std::int64_t{1})}};
  if (options.get<bool>("relative-epsilon")) {
    if (kind != "zca") {
      throw OptionError("--relative-epsilon needs --normalization zca");
    }
    result["relative_epsilon"] = true;
  }
  return result;
}

TrainingRunOptions run_options(const ProgramOptions& options) {
  TrainingRunOptions run;
  run.data = options.get<std::string>("data");
  run.labels = options.get<std::string>("labels");
  options.read("validation-data", run.validation_data);
  options.read("validation-labels", run.validation_labels);
  if (run.validation_data.empty() != run.validation_labels.empty()) {
    throw OptionError("--validation-data and --validation-labels belong together");
  }
  run.output = options.get<std::string>("output");
  run.overwrite = options.get<bool>("overwrite");
  run.resume = options.get<bool>("resume");
  if (run.overwrite && run.resume) {
    throw OptionError("--overwrite and --resume contradict each other");
  }
  run.device = options.choice("device", {"cpu", "cuda"});
  if (run.device == "cuda") {
    require_cuda_device("training");
  }
  run.progress = options.choice("progress", {"auto", "always", "never"});
  run.trace = options.get<bool>("trace");
  run.configuration = options.configuration();
  run.network = options.get<std::string>("network");
  run.normalization = normalization(options);
  if (options.has("image-shape")) {
    run.image_shape = options.numbers("image-shape", 'x', "a shape such as 3x32x32");
  }
  const auto precision = options.choice("precision", {"float", "double", "bfloat16"});
  run.precision = precision == "float"    ? torch::kFloat32
                  : precision == "double" ? torch::kFloat64
                                          : torch::kBFloat16;
  run.trainer = trainer_options(options);
  return run;
}

int train_main(const Communicator& world, int argc, char** argv) {
  catch_stop_signals();  // before anything that takes time: until now a signal ends the process
  auto options = describe_options();
  if (!read_options(world, options, argc, argv)) {
    return 0;
  }
  TrainingRunOptions run;
  on_all_ranks(
      world,
      [&] {
        start_log(options.get<std::string>("log-level"), world.rank());
        run = run_options(options);
      },
      ExitCode::kOptions);
  start_watchdog(options.get<double>("collective-timeout"), world);
  return static_cast<int>(run_training(world, run));
}

}  // namespace

int main(int argc, char** argv) { return eigenscale::run_program(argc, argv, train_main); }
