#include "eigenscale/core/cgroup.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <limits>
#include <sstream>
#include <string>

namespace eigenscale {
namespace {

using std::filesystem::path;

std::string first_line(const path& file) {
  std::ifstream stream(file);
  std::string line;
  std::getline(stream, line);
  return line;
}

/// A number of a file; none where there is no file, or it says "max" or -1.
std::optional<double> number_in(const path& file) {
  std::istringstream text(first_line(file));
  double value = 0;
  return text >> value && value >= 0 ? std::optional(value) : std::nullopt;
}

double field_of(const path& file, const std::string& field) {
  std::ifstream stream(file);
  std::string name;
  double value = 0;
  while (stream >> name >> value) {
    if (name == field) {
      return value;
    }
  }
  return 0;
}

void tighten(std::optional<double>& limit, std::optional<double> other) {
  if (other && (!limit || *other < *limit)) {
    limit = other;
  }
}

/// What is left of `limit`; none for a limit no machine reaches, as version 1 writes "no limit".
std::optional<double> left(std::optional<double> limit, std::optional<double> used,
                           double reclaimable) {
  constexpr double kNoLimit = 1e17;
  if (!limit || *limit > kNoLimit) {
    return std::nullopt;
  }
  return std::max(0.0, *limit - std::max(0.0, used.value_or(0) - reclaimable));
}

std::optional<double> memory_of_v2(const path& group) {
  return left(number_in(group / "memory.max"), number_in(group / "memory.current"),
              field_of(group / "memory.stat", "inactive_file"));
}

std::optional<double> memory_of_v1(const path& group) {
  return left(number_in(group / "memory.limit_in_bytes"),
              number_in(group / "memory.usage_in_bytes"),
              field_of(group / "memory.stat", "total_inactive_file"));
}

std::optional<double> processors_of_v2(const path& group) {
  std::istringstream text(first_line(group / "cpu.max"));
  double quota = 0;
  double period = 0;
  return text >> quota >> period && period > 0 ? std::optional(quota / period) : std::nullopt;
}

std::optional<double> processors_of_v1(const path& group) {
  const auto quota = number_in(group / "cpu.cfs_quota_us");
  const auto period = number_in(group / "cpu.cfs_period_us");
  return quota && period && *period > 0 ? std::optional(*quota / *period) : std::nullopt;
}

using Reader = std::function<std::optional<double>(const path&)>;

/// The tightest of the group and those around it. A container may see the group's name in its host,
/// which is not there: its own group is then where the groups are mounted.
std::optional<double> tightest(const path& mount, const std::string& group, const Reader& read) {
  std::optional<double> limit;
  path at = path(group).relative_path();
  while (!at.empty()) {
    tighten(limit, read(mount / at));
    at = at.parent_path();
  }
  tighten(limit, read(mount));
  return limit;
}

}  // namespace

CgroupLimits cgroup_limits(const path& root) {
  std::optional<double> memory;
  std::optional<double> processors;
  const path mounts = root / "sys/fs/cgroup";
  std::ifstream groups(root / "proc/self/cgroup");
  // "0::/group", or "5:cpu,cpuacct:/group".
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") {
      for (const auto& mount : {mounts, mounts / "unified"}) {
        tighten(memory, tightest(mount, group, memory_of_v2));
        tighten(processors, tightest(mount, group, processors_of_v2));
      }
    } else if (controllers.find(",memory,") != std::string::npos) {
      tighten(memory, tightest(mounts / "memory", group, memory_of_v1));
    } else if (controllers.find(",cpu,") != std::string::npos) {
      for (const char* mount : {"cpu", "cpu,cpuacct"}) {
        tighten(processors, tightest(mounts / mount, group, processors_of_v1));
      }
    }
  }
  CgroupLimits limits;
  if (memory) {
    limits.memory = static_cast<std::int64_t>(*memory);
  }
  limits.processors = processors;
  return limits;
}

double processor_limit() {
  return cgroup_limits().processors.value_or(std::numeric_limits<double>::infinity());
}

}  // namespace eigenscale
