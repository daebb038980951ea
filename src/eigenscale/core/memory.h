#pragma once

#include <cstdint>

namespace eigenscale {

/// [local] The largest resident set this process has had so far, in bytes (VmHWM).
std::int64_t peak_memory_bytes();
/// [local] The resident set of this process now, in bytes.
std::int64_t current_memory_bytes();
/// [local] What a new allocation may still use, in bytes, of this machine and of the control groups
/// (a container, a job) this process is in.
std::int64_t available_memory_bytes();

/// [local] From now on freed memory stays with the process. glibc returns large blocks to the
/// system at once and gets them back page by page: training, which frees and allocates the same
/// sizes in every step, spends half of its time there.
void keep_freed_memory();

}  // namespace eigenscale
