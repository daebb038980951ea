#include "eigenscale/comm/threads.h"

#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <memory>
#include <thread>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/memory_check.h"
#include "eigenscale/core/cgroup.h"

namespace eigenscale {

int processors_in_mask(const std::function<int(std::size_t, cpu_set_t*)>& get_mask) {
  // The kernel refuses a mask that is smaller than its own, whose size it does not tell.
  constexpr int kMostProcessors = 1 << 20;
  for (int processors = CPU_SETSIZE; processors <= kMostProcessors; processors *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> mask(
        CPU_ALLOC(processors), [](cpu_set_t* set) { CPU_FREE(set); });
    const std::size_t bytes = CPU_ALLOC_SIZE(processors);
    CPU_ZERO_S(bytes, mask.get());
    if (get_mask(bytes, mask.get()) == 0) {
      return std::max(1, CPU_COUNT_S(bytes, mask.get()));
    }
  }
  return 1;
}

namespace {

/// Processors that this process is bound to, of those its container may use.
int allowed_processors() {
  const int bound = processors_in_mask(
      [](std::size_t bytes, cpu_set_t* mask) { return ::sched_getaffinity(0, bytes, mask); });
  // Read once: a tenth of a small eigenproblem is no time for a dozen files.
  static const double limit = processor_limit();
  return std::max(1, static_cast<int>(std::min<double>(bound, limit)));
}

/// torch does not pass its number on to OpenBLAS, which is there under any of several names.
void set_blas_threads(int threads) {
  using SetThreads = void (*)(int);
  if (auto* set = reinterpret_cast<SetThreads>(::dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
      set != nullptr) {
    set(threads);
  }
}

int blas_threads() {
  using GetThreads = int (*)();
  auto* get = reinterpret_cast<GetThreads>(::dlsym(RTLD_DEFAULT, "openblas_get_num_threads"));
  return get == nullptr ? 1 : get();
}

}  // namespace

void share_cores(const Communicator& world) {
  const int ranks = ranks_on_this_host(world);
  if (std::getenv("OMP_NUM_THREADS") != nullptr) {
    return;
  }
  // A launcher that binds gives each rank its own few cores; one that does not gives all of them
  // all.
  const int online = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  const int bound = processors_in_mask(
      [](std::size_t bytes, cpu_set_t* mask) { return ::sched_getaffinity(0, bytes, mask); });
  const int allowed = static_cast<int>(std::min<double>(online, processor_limit()));
  const int threads = std::max(1, std::min(bound, allowed / ranks));
  torch::set_num_threads(threads);
  set_blas_threads(threads);
}

int threads_of_all(const Communicator& world) {
  // Where one finds all ranks on its host, all do.
  if (ranks_on_this_host(world) < world.size()) {
    return 0;
  }
  auto threads = torch::tensor(
      {std::int64_t{blas_threads()}, std::int64_t{world.rank() == 0 ? allowed_processors() : 0}});
  world.all_reduce(threads);
  return static_cast<int>(threads.min().item<std::int64_t>());
}

BorrowedThreads::BorrowedThreads(int threads) : before_(blas_threads()) {
  set_blas_threads(threads);
}

BorrowedThreads::~BorrowedThreads() { set_blas_threads(before_); }

void wait_asleep(const Communicator& world) {
  using Seconds = std::chrono::duration<double>;
  // To wake and look takes about so long from those who work: naps of the root of this times the
  // time waited lose as much by that as by sleeping on when all have come.
  constexpr double kLook = 5e-6;
  const auto barrier = world.start_barrier();
  const auto begin = std::chrono::steady_clock::now();
  while (!barrier->test()) {
    const double waited = Seconds(std::chrono::steady_clock::now() - begin).count();
    std::this_thread::sleep_for(Seconds(std::clamp(std::sqrt(kLook * waited), 2e-5, 1e-3)));
  }
  barrier->wait();
}

void on_first_with_all_threads(const Communicator& world, const std::function<void()>& work) {
  const int threads = std::max(threads_of_all(world), 1);
  std::exception_ptr failure;
  if (world.rank() == 0) {
    const BorrowedThreads borrowed(threads);
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  wait_asleep(world);
  on_first_rank(world, [&] {
    if (failure) {
      std::rethrow_exception(failure);
    }
  });
}

}  // namespace eigenscale
