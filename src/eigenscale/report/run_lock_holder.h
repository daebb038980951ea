#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace eigenscale {

/// What a lock file says of its holder, and when it was last renewed.
struct RunLockHolder {
  std::string text;    ///< the whole file; no two holders have the same
  double renewed = 0;  ///< seconds, by the file system's clock

  /// [local] Of the file `path`; nothing where there is none. OutputError when it cannot be read,
  /// as when it is a link.
  static std::optional<RunLockHolder> read(const std::filesystem::path& path);
  /// [local] What this process writes.
  static std::string describe_self(const std::string& program);

  enum class State { kAlive, kDead, kUnknown };
  /// [local] Unknown: of another machine or container.
  State state() const;
  /// process 17 (eigenscale-train) on host a, since 2026-01-31T12:00:00Z
  std::string in_words() const;
};

/// [local] Seconds of the clock that gives files in `directory` their times.
double file_system_seconds(const std::filesystem::path& directory);

}  // namespace eigenscale
