// Whitening (ZCA or PCA) of a data set of any number of rows: whitened samples, the transform, and
// a report.

#include <algorithm>

#include "eigenscale/comm/agreed_options.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/device.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/options.h"
#include "eigenscale/spectral/whitening_run.h"

namespace {

namespace po = boost::program_options;
using namespace eigenscale;

// clang-format off
ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-whiten", "ZCA or PCA whitening, on one rank or many");
  options.group("Data")
      ("data", po::value<std::string>(), "samples: .npy, .h5:dataset, IDX[.gz], CIFAR .bin")
      ("scale", po::value<double>()->default_value(1), "factor on every value")
      ("image-shape", po::value<std::string>(),
       "of flat samples that are images, for the pictures (28x28 or 3x32x32)")
      ("format", po::value<std::string>()->default_value("auto"),
       "of the results: npy, h5, or auto: that of the data")
      ("overwrite", po::bool_switch(), "replace a finished run in --output");
  options.group("Method")
      ("method", po::value<std::string>()->default_value("zca"), "zca or pca")
      ("components", po::value<std::int64_t>(), "leading components to keep; without it all")
      ("epsilon", po::value<double>(),
       "added to every eigenvalue, in units of the data squared; without it 1e-6 of the mean "
       "variance of a feature")
      ("check", po::bool_switch(),
       "measure covariance_error, residual and orthogonality; costs another product");
  options.group("Execution")
      ("collective-timeout", po::value<double>()->default_value(1800),
       "seconds after which a collective counts as dead; 0 for never");
  return options;
}
// clang-format on

WhiteningRunOptions run_options(const ProgramOptions& options) {
  WhiteningRunOptions run;
  run.data = options.get<std::string>("data");
  run.output = options.get<std::string>("output");
  run.overwrite = options.get<bool>("overwrite");
  run.scale = options.get<double>("scale");
  run.configuration = options.configuration();
  run.device = options.choice("device", {"cpu", "cuda"});
  if (run.device == "cuda") {
    require_cuda_device("whitening");
  }
  run.method = options.choice("method", {"zca", "pca"}) == "zca" ? WhiteningMethod::kZca
                                                                 : WhiteningMethod::kPca;
  if (options.has("components")) {
    run.components = options.at_least("components", std::int64_t{1});
  }
  if (options.has("epsilon")) {
    run.epsilon = options.get<double>("epsilon");
    if (!(run.epsilon >= 0)) {
      throw OptionError("--epsilon is negative or not a number; expected at least 0");
    }
  }
  run.check = options.get<bool>("check");
  run.format = options.choice("format", {"auto", "npy", "h5"});
  if (run.format == "auto") {
    run.format =
        run.data.find(".h5:") != std::string::npos || run.data.find(".hdf5:") != std::string::npos
            ? "h5"
            : "npy";
  }
#ifndef EIGENSCALE_HAVE_HDF5
  if (run.format == "h5") {
    throw OptionError("--format h5: this build has no HDF5");
  }
#endif
  if (options.has("image-shape")) {
    run.image_shape = options.numbers("image-shape", 'x', "a shape such as 28x28");
    if (run.image_shape.size() < 2 || run.image_shape.size() > 3) {
      throw OptionError("--image-shape is '" + options.get<std::string>("image-shape") +
                        "'; expected two or three sizes");
    }
  }
  return run;
}

int whiten_main(const Communicator& world, int argc, char** argv) {
  auto options = describe_options();
  if (!read_options(world, options, argc, argv)) {
    return 0;
  }
  WhiteningRunOptions run;
  on_all_ranks(
      world,
      [&] {
        start_log(options.get<std::string>("log-level"), world.rank());
        run = run_options(options);
      },
      ExitCode::kOptions);
  start_watchdog(options.get<double>("collective-timeout"), world);
  run_whitening(world, run);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return eigenscale::run_program(argc, argv, whiten_main); }
