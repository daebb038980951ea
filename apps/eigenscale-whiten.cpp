// Whitening (ZCA or PCA) of a data set of any number of rows: whitened samples, the transform, and
// a report.
#include "eigenscale/report/program.h"
#include "eigenscale/spectral/whitening_run.h"

namespace {

using namespace eigenscale;

// clang-format off
ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-whiten", "ZCA or PCA whitening, on one rank or many",
                         ProgramOptions::Output::kRun);
  options.group("Data")
      ("data", text(), "samples: .npy, .h5:dataset, IDX[.gz], CIFAR .bin")
      ("scale", real()->default_value(1), "factor on every value")
      ("image-shape", text(), "of flat samples that are images, for the pictures (28x28 or 3x32x32)")
      ("format", one_of({"auto", "npy", "h5"})->default_value("auto"),
       "of the results: npy, h5, or auto: that of the data");
  options.group("Method")
      ("method", one_of({"zca", "pca"})->default_value("zca"), "zca or pca")
      ("components", whole(1), "leading components to keep; without it all")
      ("solver", one_of({"auto", "exact", "randomized"})->default_value("auto"),
       "exact: by the covariance, D x D; randomized: --components by passes over the rows alone; "
       "auto: randomized where features are many and components few")
      ("epsilon", real(0),
       "added to every eigenvalue, in units of the data squared; without it 1e-6 of the mean "
       "variance of a feature")
      ("check", flag(),
       "measure covariance_error, residual and orthogonality; costs another product");
  return options;
}
// clang-format on

WhiteningRunOptions run_options(const ProgramOptions& options) {
  WhiteningRunOptions run;
  run.data = options.get<std::string>("data");
  options.read("scale", run.scale);
  run.method = options.is("method", "zca") ? WhiteningMethod::kZca : WhiteningMethod::kPca;
  options.read("components", run.components);
  run.solver = options.is("solver", "auto")    ? WhiteningSolver::kAuto
               : options.is("solver", "exact") ? WhiteningSolver::kExact
                                               : WhiteningSolver::kRandomized;
  run.seed = options.seed();
  options.read("epsilon", run.epsilon);
  run.check = options.get<bool>("check");
  run.format = options.get<std::string>("format");
  if (run.format == "auto") {
    const bool hdf5 =
        run.data.find(".h5:") != std::string::npos || run.data.find(".hdf5:") != std::string::npos;
    run.format = hdf5 ? "h5" : "npy";
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

}  // namespace

int main(int argc, char** argv) {
  return program_main(argc, argv, describe_options, run_options, run_whitening);
}
