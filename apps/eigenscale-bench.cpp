// How fast the parts are, against their limits on this machine: JSON lines on standard output.
#include "eigenscale/bench/bench_run.h"
#include "eigenscale/report/program.h"

namespace {

using namespace eigenscale;

struct BenchProgramOptions {
  BenchOptions bench;
  bool overwrite = false;
  std::string configuration;
};

ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-bench", "how fast the parts are, and against what limit");
  add_bench_options(options);
  return options;
}

BenchProgramOptions read_bench(const ProgramOptions& options) {
  return {bench_options(options), options.get<bool>("overwrite"), options.configuration()};
}

/// Without --output nothing is written; with it a run directory whose metrics are the medians.
ExitCode bench(const Communicator& world, const RunOptions& common,
               const BenchProgramOptions& options) {
  std::optional<Run> run;
  if (!common.output.empty()) {
    auto own = common;
    own.overwrite = options.overwrite;
    own.configuration = options.configuration;
    run.emplace(world, own);
    run->claim({});
    run->open_log();
    run->phase("measure");
  }
  nlohmann::json seconds;
  const auto lines = run_bench(world, options.bench, seconds);
  if (run) {
    for (const auto& line : lines) {
      run->log(line);
    }
    run->summary()["metrics"] = seconds;
    run->finish();
  }
  return ExitCode::kDone;
}

}  // namespace

int main(int argc, char** argv) {
  return program_main(argc, argv, describe_options, read_bench, bench);
}
