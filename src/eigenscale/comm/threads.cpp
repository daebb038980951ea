#include "eigenscale/comm/threads.h"

#include <dlfcn.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

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
  // torch does not pass its number on to OpenBLAS, which is there under any of several names.
  using SetThreads = void (*)(int);
  if (auto* set = reinterpret_cast<SetThreads>(::dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
      set != nullptr) {
    set(threads);
  }
}

}  // namespace eigenscale
