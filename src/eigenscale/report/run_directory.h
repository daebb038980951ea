#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/report/run_lock.h"

namespace eigenscale {

/// What becomes of what is in the directory already.
struct EarlierRun {
  bool overwrite = false;  ///< its files go
  bool resume = false;     ///< they stay but the summary
};

/// What a run reads and writes.
struct RunFiles {
  /// Paths, or path:dataset, of what is read; an empty one is none. Nothing that is read is ever
  /// removed.
  std::vector<std::string> inputs;
  /// Names, in the directory, of the files and folders of this program; those that every run has
  /// (summary, report, metrics, trace) need not be listed.
  std::vector<std::string> outputs;
};

/// The directory a run writes to: the effective configuration, the environment, metrics, arrays,
/// pictures and, last, the summary, which is what makes a run finished. Looked at first, claimed
/// when the inputs are known to be good: only then is anything changed. From then on it is locked
/// (report/run_lock.h) as long as the object lives.
class RunDirectory {
 public:
  /// [collective] Looks whether `path` may become this run's, and changes nothing. OptionError when
  /// it is in use, or holds a finished run or checkpoints and neither `overwrite` nor `resume` is
  /// set; OutputError when it is a file. Errors are agreed.
  RunDirectory(const Communicator& communicator, std::filesystem::path path,
               const EarlierRun& earlier = {});

  /// [collective] Creates the directory with its parents, locks it, removes what an earlier run of
  /// any program wrote (but with `resume`, only its summary), and writes configuration.ini and
  /// environment.json (ranks with host, threads and versions; program and outputs). OptionError
  /// when the directory is in use, when it holds one of `outputs` that no run wrote and `overwrite`
  /// is not set, or when an input would go. OutputError when it cannot be written. Errors are
  /// agreed.
  void claim(const std::string& program, const std::string& configuration,
             const RunFiles& files = {});

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(const std::string& name) const { return path_ / name; }

  /// [collective] OutputError (agreed) when another run has taken the directory: nothing more may
  /// be written into it.
  void require_lock() const;

  /// [collective] Rank 0 writes a text file, atomically; errors are agreed. Requires the lock.
  void write(const std::string& name, const std::string& text) const;

 private:
  void prepare(const std::string& program, const RunFiles& files);
  void write_setting(const std::string& program, const std::string& configuration,
                     const RunFiles& files) const;

  const Communicator& communicator_;
  std::filesystem::path path_;
  EarlierRun earlier_;
  std::unique_ptr<RunLock> lock_;  // of rank 0
};

/// [collective] One JSON value of every rank, in rank order, on rank 0; null on the others.
nlohmann::json gather_json(const Communicator& communicator, const nlohmann::json& own);

}  // namespace eigenscale
