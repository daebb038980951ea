#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Ends the run when a call that may wait for other ranks takes longer than allowed: prints rank,
/// host, thread, call, size and phase, and aborts all ranks with exit code 5. One per process;
/// `seconds` <= 0 switches it off. The time a rank waits for a slower one counts too, so the limit
/// must exceed the longest local phase.
void start_watchdog(double seconds, const Communicator& world);
void stop_watchdog();

/// [local] The phase of the run that the watchdog's message names; its and this thread's name.
void set_watched_phase(const std::string& phase);
void set_watched_thread(const std::string& name);

/// Calls under way that no thread is inside of, such as collectives on a device's stream.
class WatchedCalls {
 public:
  struct Call {
    const char* name = "";
    std::int64_t bytes = 0;
    double since = 0;  ///< of now_seconds()
  };
  virtual ~WatchedCalls() = default;
  /// [local, from the watchdog's thread] The one that has to end first. CommunicationError when one
  /// has failed, which ends the run.
  virtual std::optional<Call> oldest() = 0;
  /// [local, from the watchdog's thread] The run ends: nothing is to wait any longer.
  virtual void abort() noexcept = 0;
};

/// [local] Watches them as long as they are there.
void watch(const std::shared_ptr<WatchedCalls>& calls);

/// Marks this thread as inside a call that may wait for other ranks. Each thread is watched by
/// itself; of nested marks the outer one counts.
class WatchedCall {
 public:
  /// `call` is a string literal. `working_seconds` is how long the call may compute, generously,
  /// beyond the limit for waiting.
  WatchedCall(const char* call, std::int64_t bytes, double working_seconds = 0);
  ~WatchedCall();
  WatchedCall(const WatchedCall&) = delete;
  WatchedCall& operator=(const WatchedCall&) = delete;

 private:
  bool outer_;
};

}  // namespace eigenscale
