// Synthetic data whose truth is known: unions of subspaces with labels, or a covariance of a given
// spectrum; the same bytes for any number of ranks.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "eigenscale/core/log.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/spectrum.h"
#include "eigenscale/data/synthetic.h"
#include "eigenscale/report/program.h"

namespace {

using namespace eigenscale;

// clang-format off
ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-generate", "samples of a union of subspaces, or of a given spectrum",
                         ProgramOptions::Output::kRun);
  options.group("Data")
      ("kind", one_of({"subspaces", "nonlinear", "spectrum"})->default_value("subspaces"),
       "subspaces; nonlinear: tanh of a random map of them; or spectrum: a covariance whose "
       "eigenvalues are known")
      ("samples", whole(1)->default_value(10000), "number of samples N")
      ("ambient-dim", whole(1)->default_value(200), "numbers per sample D");
  options.group("Subspaces")
      ("subspace-dim", whole(1)->default_value(6), "dimension d of each subspace")
      ("clusters", whole(1)->default_value(20), "number of subspaces K")
      ("noise", real(0)->default_value(0), "standard deviation of added noise")
      ("outliers", real(0, 1)->default_value(0),
       "share of the samples that belong to no subspace (label -1)")
      ("sizes", one_of({"equal", "harmonic"})->default_value("equal"),
       "of clusters: equal, or harmonic: cluster k in proportion to 1/k")
      ("related", whole(0)->default_value(0), "number of directions that all subspaces share");
  options.group("Spectrum")
      ("law", one_of({"power", "geometric"}),
       "variance j in proportion to j^(-decay), also without it, or to decay^(j-1); their mean over "
       "the features is 1")
      ("decay", real(0), "without it 1 (power) or 0.9 (geometric)")
      ("rank", whole(1), "number of directions; without it the smaller of N - 1 and D")
      ("mean", real(), "feature k has this times 1 + u, u uniform in (0, 1); 0 without it");
  return options;
}
// clang-format on

/// One of the two, as the kind says.
struct Options {
  std::optional<SyntheticOptions> synthetic;
  std::optional<SpectrumOptions> spectrum;
};

[[noreturn]] void refuse(const std::string& option, const ProgramOptions& options) {
  throw OptionError("--" + option + " is not for --kind " + options.get<std::string>("kind"));
}

SyntheticOptions synthetic_options(const ProgramOptions& options) {
  for (const char* name : {"law", "decay", "rank", "mean"}) {
    if (options.has(name)) {
      refuse(name, options);
    }
  }
  SyntheticOptions synthetic;
  options.read("kind", synthetic.kind);
  options.read("samples", synthetic.samples);
  options.read("ambient-dim", synthetic.ambient_dim);
  options.read("subspace-dim", synthetic.subspace_dim);
  options.read("clusters", synthetic.clusters);
  options.read("noise", synthetic.noise);
  options.read("outliers", synthetic.outliers);
  options.read("sizes", synthetic.sizes);
  options.read("related", synthetic.related);
  synthetic.seed = options.seed();
  check(synthetic);
  return synthetic;
}

SpectrumOptions spectrum_options(const ProgramOptions& options) {
  // These have defaults.
  const SyntheticOptions defaults;
  if (options.get<std::int64_t>("subspace-dim") != defaults.subspace_dim) {
    refuse("subspace-dim", options);
  }
  if (options.get<std::int64_t>("clusters") != defaults.clusters) {
    refuse("clusters", options);
  }
  if (options.get<std::int64_t>("related") != defaults.related) {
    refuse("related", options);
  }
  for (const char* name : {"noise", "outliers"}) {
    if (options.get<double>(name) != 0) {
      refuse(name, options);
    }
  }
  if (!options.is("sizes", defaults.sizes)) {
    refuse("sizes", options);
  }
  SpectrumOptions spectrum;
  options.read("samples", spectrum.samples);
  options.read("ambient-dim", spectrum.ambient_dim);
  options.read("law", spectrum.law);
  if (spectrum.law == "geometric") {
    spectrum.decay = 0.9;
  }
  options.read("decay", spectrum.decay);
  options.read("rank", spectrum.rank);
  options.read("mean", spectrum.mean);
  spectrum.seed = options.seed();
  return checked(spectrum);
}

Options generation_options(const ProgramOptions& options) {
  Options result;
  if (options.is("kind", "spectrum")) {
    result.spectrum = spectrum_options(options);
  } else {
    result.synthetic = synthetic_options(options);
  }
  return result;
}

/// A bar or lines for the samples of rank 0, which are as many as any rank's.
std::function<void(std::int64_t)> progress(const Communicator& world, Run& run,
                                           std::int64_t samples) {
  const auto own = RowPartition(samples, world.size()).range(world.rank()).size();
  return [&run, own](std::int64_t done) { run.progress("generate", own, done, ""); };
}

void write_spectrum(const Communicator& world, Run& run, const SpectrumOptions& spectrum) {
  run.claim({.inputs = {}, .outputs = {"data.npy", "variances.npy", "mean.npy", "directions.npy"}});
  run.phase("generate");
  generate_spectrum(world, spectrum, run.directory(), progress(world, run, spectrum.samples));
  run.summary()["choices"] = {{"samples", spectrum.samples}, {"ambient_dim", spectrum.ambient_dim},
                              {"law", spectrum.law},         {"decay", spectrum.decay},
                              {"rank", spectrum.rank},       {"mean", spectrum.mean}};
  log_info(
      "{} samples of {} numbers that vary in {} directions: {}, variances.npy, mean.npy "
      "and directions.npy",
      spectrum.samples, spectrum.ambient_dim, spectrum.rank, run.file("data.npy").string());
}

void write_clusters(const Communicator& world, Run& run, const SyntheticOptions& synthetic) {
  run.claim({.inputs = {}, .outputs = {"data.npy", "labels.npy", "bases.npy"}});
  run.phase("generate");
  generate(world, synthetic, run.directory(), progress(world, run, synthetic.samples));
  run.summary()["choices"] = {{"samples", synthetic.samples},
                              {"ambient_dim", synthetic.ambient_dim},
                              {"subspace_dim", synthetic.subspace_dim},
                              {"clusters", synthetic.clusters}};
  log_info("{} samples of {} numbers in {} clusters: {}, labels.npy and bases.npy",
           synthetic.samples, synthetic.ambient_dim, synthetic.clusters,
           run.file("data.npy").string());
}

ExitCode run_generation(const Communicator& world, const RunOptions& run_options,
                        const Options& options) {
  Run run(world, run_options);
  if (options.spectrum) {
    write_spectrum(world, run, *options.spectrum);
  } else {
    write_clusters(world, run, *options.synthetic);
  }
  run.finish();
  return ExitCode::kDone;
}

}  // namespace

int main(int argc, char** argv) {
  return program_main(argc, argv, describe_options, generation_options, run_generation);
}
