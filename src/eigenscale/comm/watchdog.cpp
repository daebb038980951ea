#include "eigenscale/comm/watchdog.h"

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>

#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/trace.h"

namespace eigenscale {
namespace {

struct Watchdog {
  std::mutex mutex;
  std::condition_variable wake;
  std::thread thread;
  bool stopping = false;
  double limit = 0;
  int rank = 0;
  MPI_Comm handle = MPI_COMM_NULL;
  // Collectives are issued by one thread; nested marks keep the outer one.
  std::atomic<int> depth = 0;
  std::atomic<double> since = 0;
  std::atomic<const char*> call = "";
  std::atomic<std::int64_t> bytes = 0;
};

Watchdog& watchdog() {
  static Watchdog instance;
  return instance;
}

[[noreturn]] void bite(const Watchdog& dog) {
  std::fprintf(stderr,
               "eigenscale: rank %d on %s: %s of %lld bytes has not finished after %.0f s; another "
               "rank is dead, cut off or much slower (--collective-timeout). Ending all ranks.\n",
               dog.rank, Environment::host_name().c_str(), dog.call.load(),
               static_cast<long long>(dog.bytes.load()), dog.limit);
  // With the network gone MPI_Abort itself may hang; this process ends all the same.
  ::alarm(10);
  MPI_Abort(dog.handle, static_cast<int>(ExitCode::kCommunication));
  ::_exit(static_cast<int>(ExitCode::kCommunication));
}

void watch() {
  auto& dog = watchdog();
  std::unique_lock lock(dog.mutex);
  const auto pause = std::chrono::duration<double>(std::clamp(dog.limit / 4, 0.05, 1.0));
  while (!dog.wake.wait_for(lock, pause, [&] { return dog.stopping; })) {
    if (dog.depth > 0 && now_seconds() - dog.since > dog.limit) {
      bite(dog);
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
    dog.thread = std::thread(watch);
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

WatchedCall::WatchedCall(const char* call, std::int64_t bytes) {
  auto& dog = watchdog();
  if (dog.depth == 0) {
    dog.call = call;
    dog.bytes = bytes;
    dog.since = now_seconds();
  }
  ++dog.depth;
}

WatchedCall::~WatchedCall() { --watchdog().depth; }

}  // namespace eigenscale
