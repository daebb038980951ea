#pragma once

#include <chrono>

namespace eigenscale {

/// Seconds of a monotonic clock; only differences mean something.
inline double now_seconds() {
  using namespace std::chrono;
  return duration<double>(steady_clock::now().time_since_epoch()).count();
}

}  // namespace eigenscale
