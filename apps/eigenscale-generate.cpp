// Synthetic unions of subspaces with known labels; the same bytes for any number of ranks.

#include <filesystem>

#include "eigenscale/comm/agreed_options.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/device.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/options.h"
#include "eigenscale/data/synthetic.h"

namespace {

namespace po = boost::program_options;
using namespace eigenscale;

ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-generate", "samples of a union of subspaces, with labels");
  options.group("Data")("kind", po::value<std::string>()->default_value("subspaces"),
                        "subspaces, or nonlinear: tanh of a random map of them")(
      "samples", po::value<std::int64_t>()->default_value(10000), "number of samples N")(
      "ambient-dim", po::value<std::int64_t>()->default_value(200), "numbers per sample D")(
      "subspace-dim", po::value<std::int64_t>()->default_value(6), "dimension d of each subspace")(
      "clusters", po::value<std::int64_t>()->default_value(20), "number of subspaces K")(
      "noise", po::value<double>()->default_value(0), "standard deviation of added noise")(
      "outliers", po::value<double>()->default_value(0),
      "share of the samples that belong to no subspace (label -1)")(
      "sizes", po::value<std::string>()->default_value("equal"),
      "of clusters: equal, or harmonic: cluster k in proportion to 1/k")(
      "related", po::value<std::int64_t>()->default_value(0),
      "number of directions that all subspaces share");
  return options;
}

int generate_main(const Communicator& world, int argc, char** argv) {
  auto options = describe_options();
  if (!read_options(world, options, argc, argv)) {
    return 0;
  }
  SyntheticOptions synthetic;
  std::string output;
  on_all_ranks(
      world,
      [&] {
        start_log(options.get<std::string>("log-level"), world.rank());
        synthetic = {.kind = options.get<std::string>("kind"),
                     .samples = options.get<std::int64_t>("samples"),
                     .ambient_dim = options.get<std::int64_t>("ambient-dim"),
                     .subspace_dim = options.get<std::int64_t>("subspace-dim"),
                     .clusters = options.get<std::int64_t>("clusters"),
                     .noise = options.get<double>("noise"),
                     .outliers = options.get<double>("outliers"),
                     .sizes = options.get<std::string>("sizes"),
                     .related = options.get<std::int64_t>("related"),
                     .seed = static_cast<std::uint64_t>(options.get<std::int64_t>("seed"))};
        output = options.get<std::string>("output");
        if (options.choice("device", {"cpu", "cuda"}) == "cuda") {
          require_cuda_device("generation");
        }
        if (std::filesystem::exists(std::filesystem::path(output) / "summary.json")) {
          throw OptionError("'" + output + "' holds a finished run; give another --output");
        }
      },
      ExitCode::kOptions);
  generate(world, synthetic, output);
  spdlog::info("{} samples of {} numbers in {} clusters: {}/data.npy, labels.npy and bases.npy",
               synthetic.samples, synthetic.ambient_dim, synthetic.clusters, output);
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return eigenscale::run_program(argc, argv, generate_main); }
