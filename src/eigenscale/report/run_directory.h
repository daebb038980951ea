#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// What becomes of what is in the directory already.
struct EarlierRun {
  bool overwrite = false;           ///< its files go
  bool resume = false;              ///< they stay but the summary
  std::vector<std::string> inputs;  ///< files the new run reads, which must not be among those
};

/// The directory a run writes to: the effective configuration, the environment, metrics, arrays,
/// pictures and, last, the summary, which is what makes a run finished.
class RunDirectory {
 public:
  /// [collective] Creates `path` with its parents. OptionError when it holds a finished run, or
  /// anything else that a run would replace, and neither `overwrite` nor `resume` is set, or when
  /// an input would be replaced; what a run left that ended before its first checkpoint goes
  /// unasked. OutputError when it is a file or cannot be written. Errors are agreed.
  RunDirectory(const Communicator& communicator, std::filesystem::path path,
               const EarlierRun& earlier = {});

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path file(const std::string& name) const { return path_ / name; }

  /// [collective] configuration.ini, and environment.json: ranks with host, threads and versions.
  void write_setting(const std::string& configuration) const;
  /// [collective] Rank 0 writes a text file, atomically; errors are agreed.
  void write(const std::string& name, const std::string& text) const;

 private:
  const Communicator& communicator_;
  std::filesystem::path path_;
};

/// [collective] One JSON string of every rank, in rank order, on all ranks. Small things only.
nlohmann::json gather_json(const Communicator& communicator, const nlohmann::json& own);

}  // namespace eigenscale
