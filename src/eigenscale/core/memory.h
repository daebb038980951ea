#pragma once

#include <cstdint>

namespace eigenscale {

/// [local] The largest resident set this process has had so far, in bytes (VmHWM).
std::int64_t peak_memory_bytes();
/// [local] The resident set of this process now, in bytes.
std::int64_t current_memory_bytes();
/// [local] Memory of this machine that a new allocation may still use, in bytes.
std::int64_t available_memory_bytes();

}  // namespace eigenscale
