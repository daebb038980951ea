// The summaries of several finished runs side by side.
#include <iostream>
#include <string_view>

#include "eigenscale/comm/agreed_options.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/core/options.h"
#include "eigenscale/report/run_comparison.h"

namespace {

using namespace eigenscale;

int report_main(const Communicator& world, int argc, char** argv) {
  // Directories first, then options.
  std::vector<std::filesystem::path> directories;
  int first_option = 1;
  while (first_option < argc && !std::string_view(argv[first_option]).starts_with("-")) {
    directories.emplace_back(argv[first_option++]);
  }
  ProgramOptions options("eigenscale-report", "compares finished runs: eigenscale-report DIR...");
  argv[first_option - 1] = argv[0];
  if (!read_options(world, options, argc - first_option + 1, argv + first_option - 1)) {
    return 0;
  }
  std::string table;
  on_all_ranks(world, [&] {
    if (directories.empty()) {
      throw OptionError("eigenscale-report needs the directories of one or more runs");
    }
    table = compare_runs(directories);
  });
  if (world.rank() == 0) {
    std::cout << table << std::flush;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return eigenscale::run_program(argc, argv, report_main); }
