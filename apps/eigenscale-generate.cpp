// Synthetic unions of subspaces with known labels; the same bytes for any number of ranks.
#include "eigenscale/core/log.h"
#include "eigenscale/data/synthetic.h"
#include "eigenscale/report/program.h"

namespace {

using namespace eigenscale;

// clang-format off
ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-generate", "samples of a union of subspaces, with labels",
                         ProgramOptions::Output::kRun);
  options.group("Data")
      ("kind", one_of({"subspaces", "nonlinear"})->default_value("subspaces"),
       "subspaces, or nonlinear: tanh of a random map of them")
      ("samples", whole(1)->default_value(10000), "number of samples N")
      ("ambient-dim", whole(1)->default_value(200), "numbers per sample D")
      ("subspace-dim", whole(1)->default_value(6), "dimension d of each subspace")
      ("clusters", whole(1)->default_value(20), "number of subspaces K")
      ("noise", real(0)->default_value(0), "standard deviation of added noise")
      ("outliers", real(0, 1)->default_value(0),
       "share of the samples that belong to no subspace (label -1)")
      ("sizes", one_of({"equal", "harmonic"})->default_value("equal"),
       "of clusters: equal, or harmonic: cluster k in proportion to 1/k")
      ("related", whole(0)->default_value(0), "number of directions that all subspaces share");
  return options;
}
// clang-format on

SyntheticOptions synthetic_options(const ProgramOptions& options) {
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

ExitCode run_generation(const Communicator& world, const RunOptions& options,
                        const SyntheticOptions& synthetic) {
  Run run(world, options);
  run.claim({.inputs = {}, .outputs = {"data.npy", "labels.npy", "bases.npy"}});
  run.phase("generate");
  generate(world, synthetic, run.directory());
  run.summary()["choices"] = {{"samples", synthetic.samples},
                              {"ambient_dim", synthetic.ambient_dim},
                              {"subspace_dim", synthetic.subspace_dim},
                              {"clusters", synthetic.clusters}};
  log_info("{} samples of {} numbers in {} clusters: {}, labels.npy and bases.npy",
           synthetic.samples, synthetic.ambient_dim, synthetic.clusters,
           run.file("data.npy").string());
  run.finish();
  return ExitCode::kDone;
}

}  // namespace

int main(int argc, char** argv) {
  return program_main(argc, argv, describe_options, synthetic_options, run_generation);
}
