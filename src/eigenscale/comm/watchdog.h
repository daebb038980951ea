#pragma once

#include <cstdint>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Ends the run when a collective takes longer than allowed: prints rank, host, call and size, and
/// aborts all ranks with exit code 5. One per process; `seconds` <= 0 switches it off. The time a
/// rank waits for a slower one counts too, so the limit must exceed the longest local phase.
void start_watchdog(double seconds, const Communicator& world);
void stop_watchdog();

/// Marks this thread as inside a collective for the watchdog's eyes. `call` is a string literal.
class WatchedCall {
 public:
  WatchedCall(const char* call, std::int64_t bytes);
  ~WatchedCall();
  WatchedCall(const WatchedCall&) = delete;
  WatchedCall& operator=(const WatchedCall&) = delete;
};

}  // namespace eigenscale
