#include "eigenscale/core/memory.h"

#include <malloc.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "eigenscale/core/cgroup.h"

namespace eigenscale {
namespace {

// Lines such as "VmHWM:    123456 kB".
std::int64_t kilobytes_field(const char* file, const std::string& field) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with(field + ":")) {
      return std::stoll(line.substr(field.size() + 1)) * 1024;
    }
  }
  return 0;
}

}  // namespace

std::int64_t peak_memory_bytes() { return kilobytes_field("/proc/self/status", "VmHWM"); }
std::int64_t current_memory_bytes() { return kilobytes_field("/proc/self/status", "VmRSS"); }
std::int64_t available_memory_bytes() {
  const std::int64_t of_machine = kilobytes_field("/proc/meminfo", "MemAvailable");
  return std::min(of_machine, cgroup_limits().memory.value_or(of_machine));
}

void keep_freed_memory() {
#ifdef __GLIBC__
  ::mallopt(M_MMAP_MAX, 0);
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
  ::mallopt(M_TOP_PAD, 64 << 20);
#endif
}

}  // namespace eigenscale
