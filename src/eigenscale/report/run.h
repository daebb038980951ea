#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/comm/placement.h"
#include "eigenscale/report/metrics_log.h"
#include "eigenscale/report/phase_timers.h"
#include "eigenscale/report/progress.h"
#include "eigenscale/report/run_directory.h"

namespace eigenscale {

/// What every run is told, whatever the program.
struct RunOptions {
  std::string program;  ///< such as "eigenscale-train"
  std::filesystem::path output;
  bool overwrite = false;
  bool resume = false;
  std::string device = "cpu";
  /// What tensors on a device travel by: auto, mpi or nccl (comm/placement.h).
  std::string communicator = "auto";
  Progress::Mode progress = Progress::Mode::kAuto;
  bool trace = false;
  /// The effective options as INI text, kept in the directory.
  std::string configuration;
};

/// One run of a program, from its options to its summary. The order is that of the calls:
///
///     Run run(world, options);              // looks at --output, changes nothing
///     ... open and check every input ...    // errors up to here leave an earlier run as it was
///     run.claim({.inputs = ..., .outputs = {"labels.npy"}});   // locks; an earlier run goes
///     run.phase("cluster");                 // timed, announced; any number of phases
///     run.summary()["metrics"]["accuracy"] = ...;
///     run.finish([&](const auto& summary) { return report_as_html(summary); });
///
/// Owns directory, lock, device, timers, progress, warnings, trace and metrics log. One thread uses
/// it.
class Run {
 public:
  /// [collective] See RunDirectory: throws when --output is in use or holds a finished run that is
  /// not to be replaced. Begins the trace where one is wanted. With --device cuda every rank takes
  /// its GPU: OptionError (agreed) as DevicePlacement.
  Run(const Communicator& world, RunOptions options);

  /// [collective] Makes the directory this run's.
  void claim(const RunFiles& files);
  /// [collective] Begins metrics.jsonl; goes on behind those lines that `keep` accepts.
  void open_log(const std::function<bool(const nlohmann::json&)>& keep = {});

  const RunOptions& options() const { return options_; }
  /// Where the run's tensors live.
  Placement placement() const { return device_ ? device_->placement() : Placement(world_); }
  const std::filesystem::path& directory() const { return directory_.path(); }
  std::filesystem::path file(const std::string& name) const { return directory_.file(name); }
  /// [collective] Before anything large is written: see RunDirectory.
  void require_lock() const { directory_.require_lock(); }
  /// [collective] Rank 0 writes a text file into the directory, atomically.
  void write(const std::string& name, const std::string& text) const {
    directory_.write(name, text);
  }

  /// [local] Ends the phase before, says `name` and times what follows under it.
  void phase(const std::string& name);
  /// [local] For what is timed apart within a phase, such as reading.
  PhaseTimers& timers() { return timers_; }
  /// [local] A bar or lines for the current phase. `text` says what is worth knowing.
  void progress(const std::string& label, std::int64_t steps, std::int64_t step,
                const std::string& text);
  /// [local] Ends the line of a bar, so that something else can be printed.
  void interrupt_progress();
  /// [local] Says it now and in the summary; once, however often it is called.
  void warn(const std::string& text);
  /// [local] A line of metrics.jsonl.
  void log(const nlohmann::json& line);
  /// How many lines it has, kept ones included; on rank 0.
  std::int64_t log_lines() const { return log_lines_; }

  /// What the program adds to summary.json: metrics, choices, and keys of its own.
  nlohmann::json& summary() { return summary_; }

  /// [collective] Seconds, memory, counters and warnings into the summary; trace, report.html from
  /// the whole summary (where there is one) and, last, summary.json; and says that the run is done.
  void finish(const std::function<std::string(const nlohmann::json& summary)>& report = {});
  /// [collective] The end of a run that is to go on later: the trace, but no summary.
  void stop();

 private:
  void end_progress();
  void write_trace() const;

  const Communicator& world_;
  RunOptions options_;
  std::int64_t startup_bytes_;
  PhaseTimers timers_;
  RunDirectory directory_;
  std::optional<DevicePlacement> device_;
  std::optional<MetricsLog> log_;
  std::int64_t log_lines_ = 0;
  std::optional<Progress> progress_;
  std::vector<std::string> warnings_;
  nlohmann::json summary_;
};

}  // namespace eigenscale
