// A smaller network from a trained one: dead neurons out, layers of low rank factorised, verified.
#include <spdlog/fmt/fmt.h>

#include "eigenscale/comm/agreed_options.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/device.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/compress/compression_run.h"
#include "eigenscale/compress/onnx_export.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/options.h"

namespace {

namespace po = boost::program_options;
using namespace eigenscale;

// clang-format off
ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-compress", "make a trained network smaller, and prove it the same");
  options.group("Model")
      ("model", po::value<std::string>(), "folder with model.json and model.safetensors")
      ("overwrite", po::bool_switch(), "replace an earlier run in --output");
  if (has_onnx()) {
    options.group("Export")
        ("export", po::value<std::string>(), "also write the model as: onnx");
  }
  options.group("Method")
      ("energy", po::value<double>(),
       "factorise layers: keep this share of the squared singular values, such as 0.9; 1 drops what is zero; without it none is")
      ("keep-neurons", po::value<double>(),
       "keep this share of each layer's neurons, the largest, instead of taking out dead ones")
      ("fine-tune-epochs", po::value<std::int64_t>()->default_value(0), "train on; needs --data")
      ("learning-rate", po::value<double>()->default_value(0.01), "of fine-tuning, falling to 0")
      ("batch-size", po::value<std::int64_t>()->default_value(128), "samples of all ranks together");
  options.group("Data")
      ("data", po::value<std::string>(), "training samples, for fine-tuning")
      ("labels", po::value<std::string>(), "their classes, 0 to K - 1")
      ("validation-data", po::value<std::string>(), "samples that measure both networks")
      ("validation-labels", po::value<std::string>(), "their classes")
      ("scale", po::value<double>()->default_value(1), "factor on every value, as in training");
  options.group("Execution")
      ("collective-timeout", po::value<double>()->default_value(1800),
       "seconds after which a collective counts as dead; 0 for never");
  return options;
}
// clang-format on

/// A share in (0, 1], where the option was given.
std::optional<double> share(const ProgramOptions& options, const char* name) {
  if (!options.has(name)) {
    return {};
  }
  const auto value = options.get<double>(name);
  if (!(value > 0 && value <= 1)) {
    throw OptionError(fmt::format("--{} is {}; expected more than 0 and at most 1", name, value));
  }
  return value;
}

CompressionRunOptions run_options(const ProgramOptions& options) {
  CompressionRunOptions run;
  run.model = options.get<std::string>("model");
  run.output = options.get<std::string>("output");
  run.overwrite = options.get<bool>("overwrite");
  run.energy = share(options, "energy");
  run.keep_neurons = share(options, "keep-neurons");
  run.onnx = options.has("export") && options.choice("export", {"onnx"}) == "onnx";
  options.read("data", run.data);
  options.read("labels", run.labels);
  options.read("validation-data", run.validation_data);
  options.read("validation-labels", run.validation_labels);
  if (run.data.empty() != run.labels.empty()) {
    throw OptionError("--data and --labels belong together");
  }
  if (run.validation_data.empty() != run.validation_labels.empty()) {
    throw OptionError("--validation-data and --validation-labels belong together");
  }
  run.scale = options.get<double>("scale");
  run.fine_tune_epochs = options.at_least("fine-tune-epochs", std::int64_t{0});
  if (run.fine_tune_epochs > 0 && run.data.empty()) {
    throw OptionError("--fine-tune-epochs needs --data and --labels");
  }
  run.learning_rate = options.at_least("learning-rate", 0.0);
  run.batch_size = options.at_least("batch-size", std::int64_t{1});
  run.seed = static_cast<std::uint64_t>(options.get<std::int64_t>("seed"));
  run.device = options.choice("device", {"cpu", "cuda"});
  if (run.device == "cuda") {
    require_cuda_device("compression");
  }
  run.configuration = options.configuration();
  return run;
}

int compress_main(const Communicator& world, int argc, char** argv) {
  auto options = describe_options();
  if (!read_options(world, options, argc, argv)) {
    return 0;
  }
  CompressionRunOptions run;
  on_all_ranks(
      world,
      [&] {
        start_log(options.get<std::string>("log-level"), world.rank());
        run = run_options(options);
      },
      ExitCode::kOptions);
  start_watchdog(options.get<double>("collective-timeout"), world);
  run_compression(world, run);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return eigenscale::run_program(argc, argv, compress_main); }
