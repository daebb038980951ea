#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace eigenscale {

/// [local] What is in a directory that a run would write to.
struct EarlierFiles {
  bool finished = false;             ///< a summary
  bool checkpoints = false;          ///< of an unfinished run
  bool any = false;                  ///< a run was here, even if it ended early
  std::vector<std::string> of_runs;  ///< names a run wrote or may have written, there or not
};

/// [local] Looks; `outputs` are the new run's own.
EarlierFiles find_earlier_files(const std::filesystem::path& directory,
                                const std::vector<std::string>& outputs);

/// [local] True when reading `input` (a path, or path:dataset) reads `file` or what lies below it.
bool reads(const std::string& input, const std::filesystem::path& file);

}  // namespace eigenscale
