// Whitening (ZCA or PCA) of a data set of any number of rows: whitened samples, the transform, and
// a report.
#include "eigenscale/data/hdf5_file.h"
#include "eigenscale/report/program.h"
#include "eigenscale/spectral/whitening_application.h"
#include "eigenscale/spectral/whitening_run.h"

namespace {

using namespace eigenscale;

// clang-format off
ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-whiten", "ZCA or PCA whitening, on one rank or many",
                         ProgramOptions::Output::kRun);
  options.group("Data")
      ("data", text(), "samples: .npy, .h5:dataset, IDX[.gz], CIFAR .bin")
      ("apply", text(), "transform the data by this finished run; no options of a method then")
      ("scale", real(), "factor on every value; 1 without it")
      ("image-shape", text(), "of flat samples that are images, for the pictures (28x28 or 3x32x32)")
      ("format", one_of({"auto", "npy", "h5"})->default_value("auto"),
       "of the results: npy, h5, or auto: that of the data");
  options.group("Method")
      ("method", one_of({"zca", "pca"}), "zca or pca; zca without it")
      ("components", whole(1), "leading components to keep; without it all")
      ("solver", one_of({"auto", "exact", "randomized"}),
       "exact: by the covariance, D x D; randomized: --components by passes over the rows alone; "
       "auto, and without it: randomized where features are many and components few")
      ("passes", whole(1, 1000),
       "passes over the rows, at most, in which the randomized solver finds the components; 8 "
       "without it, fewer where the variances are known to 5e-5 of themselves before")
      ("precision", one_of({"auto", "double"}),
       "of products of rows: double, or auto, and without it: single for data that are no doubles, "
       "where that leaves whitened samples white to 1e-4")
      ("epsilon", real(0),
       "added to every eigenvalue, in units of the data squared; without it 1e-6 of the mean "
       "variance of a feature")
      ("check", flag(),
       "measure covariance_error, residual and orthogonality; costs another product");
  options.execution_on_devices();
  return options;
}
// clang-format on

/// A transform is found, or where `apply` names a run, that of the run is applied.
struct Options {
  WhiteningRunOptions run;
  WhiteningApplicationOptions application;
};

std::string format_of_results(const ProgramOptions& options, const std::string& data) {
  auto format = options.get<std::string>("format");
  if (format == "auto") {
    const bool hdf5 =
        data.find(".h5:") != std::string::npos || data.find(".hdf5:") != std::string::npos;
    format = hdf5 ? "h5" : "npy";
  }
  if (format == "h5" && !has_hdf5()) {
    throw OptionError("--format h5: this build has no HDF5");
  }
  return format;
}

WhiteningApplicationOptions application_options(const ProgramOptions& options) {
  for (const char* name : {"scale", "image-shape", "method", "components", "solver", "passes",
                           "precision", "epsilon"}) {
    if (options.has(name)) {
      throw OptionError(
          "--" + std::string(name) +
          " is that of the run whose transform is applied: leave it out with --apply");
    }
  }
  if (options.get<bool>("check")) {
    throw OptionError("--check is of a transform that is found: leave it out with --apply");
  }
  WhiteningApplicationOptions result;
  result.data = options.get<std::string>("data");
  options.read("apply", result.apply);
  result.format = format_of_results(options, result.data);
  return result;
}

WhiteningRunOptions run_options(const ProgramOptions& options) {
  WhiteningRunOptions run;
  run.data = options.get<std::string>("data");
  options.read("scale", run.scale);
  if (options.has("method") && options.is("method", "pca")) {
    run.method = WhiteningMethod::kPca;
  }
  options.read("components", run.components);
  if (options.has("solver") && !options.is("solver", "auto")) {
    run.solver =
        options.is("solver", "exact") ? WhiteningSolver::kExact : WhiteningSolver::kRandomized;
  }
  run.seed = options.seed();
  options.read("passes", run.passes);
  run.all_double = options.has("precision") && options.is("precision", "double");
  options.read("epsilon", run.epsilon);
  run.check = options.get<bool>("check");
  run.format = format_of_results(options, run.data);
  if (options.has("image-shape")) {
    run.image_shape = options.numbers("image-shape", 'x', "a shape such as 28x28");
    if (run.image_shape.size() < 2 || run.image_shape.size() > 3) {
      throw OptionError("--image-shape is '" + options.get<std::string>("image-shape") +
                        "'; expected two or three sizes");
    }
  }
  return run;
}

Options whitening_options(const ProgramOptions& options) {
  Options result;
  if (options.has("apply")) {
    result.application = application_options(options);
  } else {
    result.run = run_options(options);
  }
  return result;
}

ExitCode whiten(const Communicator& world, const RunOptions& run, const Options& options) {
  return options.application.apply.empty()
             ? run_whitening(world, run, options.run)
             : run_whitening_application(world, run, options.application);
}

}  // namespace

int main(int argc, char** argv) {
  return program_main(argc, argv, describe_options, whitening_options, whiten);
}
