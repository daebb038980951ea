#include "eigenscale/report/program.h"

#include <filesystem>
#include <iostream>

#include "eigenscale/comm/agreed_options.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/device.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/threads.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/stop_signals.h"

namespace eigenscale {
namespace {

/// The options that programs share, as ProgramOptions describes them.
RunOptions read_common(const ProgramOptions& options) {
  RunOptions run;
  run.program = options.program();
  run.device = options.get<std::string>("device");
  if (run.device == "cuda") {
    require_cuda_device();
    if (!options.runs_on_devices()) {
      throw OptionError("--device cuda: " + run.program +
                        " runs on the CPU only; eigenscale-train, -whiten and -cluster can use a "
                        "GPU");
    }
  }
  if (options.runs_on_devices()) {
    run.communicator = options.get<std::string>("communicator");
    if (run.communicator == "nccl" && run.device != "cuda") {
      throw OptionError("--communicator nccl needs --device cuda");
    }
  }
  if (options.output() == ProgramOptions::Output::kText) {
    if (options.has("output")) {
      run.output = options.get<std::string>("output");
    }
    return run;
  }
  run.output = options.get<std::string>("output");
  run.overwrite = options.get<bool>("overwrite");
  run.resume =
      options.output() == ProgramOptions::Output::kResumableRun && options.get<bool>("resume");
  if (run.overwrite && run.resume) {
    throw OptionError("--overwrite and --resume contradict each other");
  }
  run.progress = Progress::parse(options.get<std::string>("progress"));
  run.trace = options.get<bool>("trace");
  run.configuration = options.configuration();
  return run;
}

ExitCode run_options_and_all(const Communicator& world, int argc, char** argv,
                             const Program& program) {
  auto options = program.describe();
  if (options.output() == ProgramOptions::Output::kResumableRun) {
    catch_stop_signals();  // before anything that takes time: until now a signal ends the process
  }
  if (!read_options(world, options, argc, argv)) {
    return ExitCode::kDone;
  }
  RunOptions run;
  on_all_ranks(
      world,
      [&] {
        start_log(options.get<std::string>("log-level"), world.rank());
        run = read_common(options);
        program.read(options);
      },
      ExitCode::kOptions);
  start_watchdog(options.get<double>("collective-timeout"), world);
  return program.execute(world, run);
}

}  // namespace

int program_main(int argc, char** argv, const Program& program) {
  let_idle_threads_sleep();
  return run_program(argc, argv, [&](const Communicator& world, int count, char** arguments) {
    return static_cast<int>(run_options_and_all(world, count, arguments, program));
  });
}

void print_text(const Communicator& world, const RunOptions& run, const std::string& name,
                const std::string& text) {
  on_first_rank(world, [&] {
    if (!run.output.empty()) {
      std::filesystem::create_directories(run.output);
      write_file(run.output / name, text);
    }
    std::cout << text << std::flush;
  });
}

}  // namespace eigenscale
