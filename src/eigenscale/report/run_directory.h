#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// The directory a run writes to: the effective configuration, the environment, metrics, arrays,
/// pictures and, last, the summary, which is what makes a run finished.
class RunDirectory {
 public:
  /// [collective] Creates `path` with its parents. A directory that holds a finished run is refused
  /// with OptionError unless `overwrite`, which removes the files of that run. OutputError when it
  /// is a file or cannot be written. With `resume` everything stays but the summary: the run is not
  /// finished until it is so again. Errors are agreed.
  RunDirectory(const Communicator& communicator, std::filesystem::path path, bool overwrite,
               bool resume = false);

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
