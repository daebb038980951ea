// The summaries of several finished runs side by side.
#include "eigenscale/comm/agreement.h"
#include "eigenscale/report/program.h"
#include "eigenscale/report/run_comparison.h"

namespace {

using namespace eigenscale;

ProgramOptions describe_options() {
  ProgramOptions options("eigenscale-report", "compares finished runs: eigenscale-report DIR...");
  options.group("Runs")("run", texts(), "directory of a finished run; --run may be left out");
  options.name_positional("run");
  return options;
}

std::vector<std::filesystem::path> directories(const ProgramOptions& options) {
  std::vector<std::string> names;
  options.read("run", names);
  if (names.empty()) {
    throw OptionError("eigenscale-report needs the directories of one or more runs");
  }
  return {names.begin(), names.end()};
}

ExitCode compare(const Communicator& world, const RunOptions& run,
                 const std::vector<std::filesystem::path>& directories) {
  std::string table;
  on_all_ranks(world, [&] { table = compare_runs(directories); });
  print_text(world, run, "comparison.txt", table);
  return ExitCode::kDone;
}

}  // namespace

int main(int argc, char** argv) {
  return program_main(argc, argv, describe_options, directories, compare);
}
