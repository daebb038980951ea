#include "eigenscale/comm/watchdog.h"

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <list>
#include <mutex>
#include <thread>

#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/format.h"

namespace eigenscale {
namespace {

/// What one thread is waiting in. Guarded by its own lock, which nobody else holds but the watchdog
/// for a glance.
struct WatchedThread {
  std::mutex mutex;
  std::string name = "main";
  const char* call = nullptr;
  std::int64_t bytes = 0;
  double since = 0;
  double working_seconds = 0;
};

struct Watchdog {
  std::mutex mutex;
  std::condition_variable wake;
  std::thread thread;
  bool stopping = false;
  double limit = 0;
  int rank = 0;
  MPI_Comm handle = MPI_COMM_NULL;
  std::string phase;
  std::list<std::shared_ptr<WatchedThread>> threads;
  std::list<std::weak_ptr<WatchedCalls>> calls;
};

/// Never destroyed: threads may end after main has.
Watchdog& watchdog() {
  static auto& instance = *new Watchdog;
  return instance;
}

/// This thread's entry, which leaves the list with the thread.
WatchedThread& this_thread() {
  struct Entry {
    std::shared_ptr<WatchedThread> thread = std::make_shared<WatchedThread>();
    Entry() {
      const std::lock_guard lock(watchdog().mutex);
      watchdog().threads.push_back(thread);
    }
    ~Entry() {
      const std::lock_guard lock(watchdog().mutex);
      watchdog().threads.remove(thread);
    }
  };
  thread_local const Entry entry;
  return *entry.thread;
}

std::string in_phase(const Watchdog& dog) {
  return dog.phase.empty() ? "" : " in phase '" + dog.phase + "'";
}

[[noreturn]] void end_the_run(const Watchdog& dog, const std::string& message) {
  std::fprintf(stderr, "eigenscale: rank %d on %s: %s. Ending all ranks.\n", dog.rank,
               Environment::host_name().c_str(), message.c_str());
  // With the network gone MPI_Abort itself may hang; this process ends all the same.
  ::alarm(10);
  for (const auto& watched : dog.calls) {
    if (const auto calls = watched.lock()) {
      calls->abort();
    }
  }
  MPI_Abort(dog.handle, static_cast<int>(ExitCode::kCommunication));
  ::_exit(static_cast<int>(ExitCode::kCommunication));
}

[[noreturn]] void bite(const Watchdog& dog, const WatchedCalls::Call& call,
                       const std::string& where, double limit) {
  end_the_run(dog,
              format_text("{} of {} bytes{} ({}) has not finished after {:.0f} s; another rank is "
                          "dead, cut off or much slower (--collective-timeout)",
                          call.name, call.bytes, in_phase(dog), where, limit));
}

void look_at(const Watchdog& dog, WatchedCalls& calls) {
  std::optional<WatchedCalls::Call> oldest;
  try {
    oldest = calls.oldest();
  } catch (const std::exception& error) {
    end_the_run(dog, error.what() + in_phase(dog));
  }
  if (oldest && now_seconds() - oldest->since > dog.limit) {
    bite(dog, *oldest, "on the device", dog.limit);
  }
}

void watch_all() {
  auto& dog = watchdog();
  std::unique_lock lock(dog.mutex);
  const auto pause = std::chrono::duration<double>(std::clamp(dog.limit / 4, 0.05, 1.0));
  while (!dog.wake.wait_for(lock, pause, [&] { return dog.stopping; })) {
    for (const auto& thread : dog.threads) {
      const std::lock_guard glance(thread->mutex);
      const double limit = dog.limit + thread->working_seconds;
      if (thread->call != nullptr && now_seconds() - thread->since > limit) {
        const std::string where = "thread '" + thread->name + "'";
        bite(dog, {thread->call, thread->bytes, thread->since}, where, limit);
      }
    }
    std::erase_if(dog.calls, [](const auto& calls) { return calls.expired(); });
    for (const auto& watched : dog.calls) {
      if (const auto calls = watched.lock()) {
        look_at(dog, *calls);
      }
    }
  }
}

}  // namespace

void start_watchdog(double seconds, const Communicator& world) {
  stop_watchdog();
  auto& dog = watchdog();
  if (seconds > 0) {
    dog.limit = seconds;
    dog.rank = world.rank();
    dog.handle = mpi_handle(world);
    dog.stopping = false;
    dog.thread = std::thread(watch_all);
  }
}

void stop_watchdog() {
  auto& dog = watchdog();
  if (dog.thread.joinable()) {
    {
      const std::lock_guard lock(dog.mutex);
      dog.stopping = true;
    }
    dog.wake.notify_all();
    dog.thread.join();
  }
}

void watch(const std::shared_ptr<WatchedCalls>& calls) {
  const std::lock_guard lock(watchdog().mutex);
  watchdog().calls.emplace_back(calls);
}

void set_watched_phase(const std::string& phase) {
  const std::lock_guard lock(watchdog().mutex);
  watchdog().phase = phase;
}

void set_watched_thread(const std::string& name) {
  auto& thread = this_thread();
  const std::lock_guard lock(thread.mutex);
  thread.name = name;
}

WatchedCall::WatchedCall(const char* call, std::int64_t bytes, double working_seconds) {
  auto& thread = this_thread();
  const std::lock_guard lock(thread.mutex);
  outer_ = thread.call == nullptr;
  if (outer_) {
    thread.call = call;
    thread.bytes = bytes;
    thread.working_seconds = working_seconds;
    thread.since = now_seconds();
  }
}

WatchedCall::~WatchedCall() {
  if (outer_) {
    auto& thread = this_thread();
    const std::lock_guard lock(thread.mutex);
    thread.call = nullptr;
  }
}

}  // namespace eigenscale
