#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace eigenscale {

/// What the control groups of this process (a container, a batch job, a systemd unit) leave it;
/// version 1 and 2, the tightest of all groups it is nested in. Read from below `root`.
struct CgroupLimits {
  /// Bytes that may still be allocated: the limit less what is used, not counting file caches that
  /// the kernel gives up first.
  std::optional<std::int64_t> memory;
  /// Processors, such as 2.5.
  std::optional<double> processors;
};

/// [local]
CgroupLimits cgroup_limits(const std::filesystem::path& root = "/");

/// [local] Processors that the control groups allow; infinite without a limit.
double processor_limit();

}  // namespace eigenscale
