#pragma once

#include <functional>
#include <optional>
#include <string>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/options.h"
#include "eigenscale/report/run.h"

namespace eigenscale {

/// What a program consists of beside what all of them do.
struct Program {
  std::function<ProgramOptions()> describe;         ///< [local] its options
  std::function<void(const ProgramOptions&)> read;  ///< [local] takes their values
  std::function<ExitCode(const Communicator&, const RunOptions&)> execute;  ///< [collective]
};

/// Every program's main: MPI, options (agreed between ranks; --help and --version end here), log,
/// device, watchdog, stop signals where a run can go on, then `execute`. Turns errors into the
/// documented exit codes.
int program_main(int argc, char** argv, const Program& program);

/// The same for `Options read(const ProgramOptions&)` and `ExitCode execute(const Communicator&,
/// const RunOptions&, const Options&)`. Errors of reading are agreed, before anything is opened.
template <typename Options>
int program_main(int argc, char** argv, ProgramOptions (*describe)(),
                 Options (*read)(const ProgramOptions&),
                 ExitCode (*execute)(const Communicator&, const RunOptions&, const Options&)) {
  std::optional<Options> own;
  return program_main(argc, argv,
                      {describe, [&](const ProgramOptions& options) { own.emplace(read(options)); },
                       [&](const Communicator& world, const RunOptions& run) {
                         return execute(world, run, *own);
                       }});
}

/// [collective] Rank 0 prints `text`, and, where --output is given, writes it to the file `name` in
/// that folder, too. For programs without a run directory.
void print_text(const Communicator& world, const RunOptions& run, const std::string& name,
                const std::string& text);

}  // namespace eigenscale
