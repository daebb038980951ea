// Deep subspace clustering of a data set: labels, embedding, metrics and a report.
#include <array>

#include "eigenscale/cluster/clustering_run.h"
#include "eigenscale/comm/agreed_options.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/device.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/options.h"

namespace {

namespace po = boost::program_options;
using namespace eigenscale;

// clang-format off
ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-cluster", "deep subspace clustering, on one rank or many");
  options.group("Data")
      ("data", po::value<std::string>(), "samples: .npy, .h5:dataset, IDX[.gz], CIFAR .bin")
      ("labels", po::value<std::string>(), "reference labels: metrics and ablation are reported")
      ("no-ablation", po::bool_switch(),
       "with labels: leave out the parts of the method alone, which cost as much again each")
      ("clusters", po::value<std::int64_t>(), "number of clusters K")
      ("scale", po::value<double>()->default_value(1), "factor on every value")
      ("overwrite", po::bool_switch(), "replace a finished run in --output");
  options.group("Method")
      ("preset", po::value<std::string>(), "the paper's settings: orl, coil20, coil100 or yaleb")
      ("encoder", po::value<std::string>(), "none, conv or mlp")
      ("encoder-channels", po::value<std::string>(),
       "conv: channels per layer (10,20,30); mlp: widths, the latent size last")
      ("encoder-kernels", po::value<std::string>(), "conv: odd kernel size per layer (5,3,3)")
      ("image-shape", po::value<std::string>(), "channels x height x width of a sample (1x32x32)")
      ("self-expression", po::value<std::string>()->default_value("full"), "full or closed-form")
      ("norm", po::value<std::string>(), "of the coefficients: l1 or l2")
      ("weight-coefficient", po::value<double>(), "w1, weight of the coefficients' norm")
      ("weight-self-expression", po::value<double>(), "w2, weight of the self-expression")
      ("threshold", po::value<double>(), "share of each column's L1 norm that is kept")
      ("subspace-dim", po::value<std::int64_t>(), "dimension of each subspace")
      ("affinity-power", po::value<double>(), "power of the affinity")
      ("label-assignment", po::value<std::string>()->default_value("discretize"),
       "discretize or kmeans")
      ("pretrain-epochs", po::value<std::int64_t>(),
       "exactly this many; without it until the loss rests (docs/clustering.md)")
      ("finetune-steps", po::value<std::int64_t>(), "steps with the coefficients")
      ("pretrained", po::value<std::string>(), "safetensors file of a pre-trained autoencoder");
  options.group("Execution")
      ("grid", po::value<std::string>(), "process grid PRxPC of the coefficients")
      ("precision", po::value<std::string>()->default_value("float"), "float or double")
      ("collective-timeout", po::value<double>()->default_value(1800),
       "seconds after which a collective counts as dead; 0 for never")
      ("progress", po::value<std::string>()->default_value("auto"), "auto, always or never")
      ("trace", po::bool_switch(), "write trace.json for chrome://tracing, all ranks");
  return options;
}
// clang-format on

void override_settings(const ProgramOptions& options, ClusteringSettings& settings) {
  options.read("encoder", settings.encoder);
  if (options.has("encoder-channels")) {
    settings.channels = options.numbers("encoder-channels", ',', "numbers such as 10,20,30");
  }
  if (options.has("encoder-kernels")) {
    settings.kernels = options.numbers("encoder-kernels", ',', "numbers such as 5,3,3");
  }
  if (options.has("image-shape")) {
    settings.image_shape = options.numbers("image-shape", 'x', "a shape such as 1x32x32");
    if (settings.image_shape.size() != 3) {
      throw OptionError("--image-shape is '" + options.get<std::string>("image-shape") +
                        "'; expected a shape such as 1x32x32");
    }
  }
  if (options.has("norm")) {
    settings.norm =
        options.choice("norm", {"l1", "l2"}) == "l1" ? CoefficientNorm::kL1 : CoefficientNorm::kL2;
  }
  options.read("weight-coefficient", settings.weight_coefficient);
  options.read("weight-self-expression", settings.weight_self_expression);
  options.read("threshold", settings.threshold);
  options.read("subspace-dim", settings.subspace_dim);
  options.read("affinity-power", settings.affinity_power);
  options.read("pretrain-epochs", settings.pretrain_epochs);
  options.read("finetune-steps", settings.finetune_steps);
}

ClusteringRunOptions run_options(const ProgramOptions& options) {
  ClusteringRunOptions run;
  run.data = options.get<std::string>("data");
  options.read("labels", run.labels);
  run.output = options.get<std::string>("output");
  run.overwrite = options.get<bool>("overwrite");
  run.scale = options.get<double>("scale");
  run.configuration = options.configuration();
  run.device = options.get<std::string>("device");
  run.progress = options.get<std::string>("progress");
  run.trace = options.get<bool>("trace");
  options.choice("progress", {"auto", "always", "never"});
  if (options.choice("device", {"cpu", "cuda"}) == "cuda") {
    require_cuda_device("clustering");
  }

  run.clustering.clusters = options.get<std::int64_t>("clusters");
  if (run.clustering.clusters < 1) {
    throw OptionError("--clusters is " + std::to_string(run.clustering.clusters) +
                      "; expected at least 1");
  }
  run.clustering.ablation = !options.get<bool>("no-ablation");
  run.has_preset = options.has("preset");
  if (run.has_preset) {
    run.clustering.settings = preset(options.get<std::string>("preset"), run.clustering.clusters);
  }
  run.override_settings = [&options](ClusteringSettings& settings) {
    override_settings(options, settings);
  };
  run.override_settings(run.clustering.settings);  // malformed values are found before the data
  run.clustering.closed_form =
      options.choice("self-expression", {"full", "closed-form"}) == "closed-form";
  run.clustering.assignment =
      options.choice("label-assignment", {"discretize", "kmeans"}) == "discretize"
          ? LabelAssignment::kDiscretize
          : LabelAssignment::kKmeans;
  run.clustering.precision = options.choice("precision", {"float", "double"}) == "float"
                                 ? torch::kFloat32
                                 : torch::kFloat64;
  options.read("pretrained", run.clustering.pretrained);
  run.clustering.stop_on_plateau = !options.has("pretrain-epochs");
  run.clustering.seed = static_cast<std::uint64_t>(options.get<std::int64_t>("seed"));
  if (options.has("grid")) {
    const auto grid = options.numbers("grid", 'x', "a grid such as 2x2");
    if (grid.size() != 2) {
      throw OptionError("--grid is '" + options.get<std::string>("grid") +
                        "'; expected a grid such as 2x2");
    }
    run.grid = {static_cast<int>(grid[0]), static_cast<int>(grid[1])};
  }
  return run;
}

int cluster_main(const Communicator& world, int argc, char** argv) {
  auto options = describe_options();
  if (!read_options(world, options, argc, argv)) {
    return 0;
  }
  ClusteringRunOptions run;
  on_all_ranks(
      world,
      [&] {
        start_log(options.get<std::string>("log-level"), world.rank());
        run = run_options(options);
      },
      ExitCode::kOptions);
  start_watchdog(options.get<double>("collective-timeout"), world);
  run_clustering(world, run);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return eigenscale::run_program(argc, argv, cluster_main); }
