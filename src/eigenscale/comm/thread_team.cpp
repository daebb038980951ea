#include "eigenscale/comm/thread_team.h"

#include <omp.h>

#include <algorithm>
#include <exception>
#include <mutex>

namespace eigenscale {

// OpenMP's threads are torch's, too: loops of torch in `work` know that they are in one. Not
// at::parallel_for, which is serial in every file that is not compiled with OpenMP, as ours are.
int team_threads() { return omp_get_max_threads(); }

void in_team(std::int64_t count, const std::function<void(std::int64_t)>& work, int threads) {
  std::mutex mutex;
  std::exception_ptr failure;
  std::int64_t failed = count;
  const auto guarded = [&](std::int64_t number) {
    try {
      work(number);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (number < failed) {
        failed = number;
        failure = std::current_exception();
      }
    }
  };
  const int used = static_cast<int>(std::clamp<std::int64_t>(count, 1, std::max(threads, 1)));
#pragma omp parallel for schedule(dynamic) num_threads(used) if (used > 1)
  for (std::int64_t number = 0; number < count; ++number) {
    guarded(number);
  }
  if (failure) {
    std::rethrow_exception(failure);
  }
}

std::vector<int> processors_of_places() {
  std::vector<int> processors;
  for (int place = 0; place < omp_get_num_places(); ++place) {
    std::vector<int> own(omp_get_place_num_procs(place));
    omp_get_place_proc_ids(place, own.data());
    processors.insert(processors.end(), own.begin(), own.end());
  }
  return processors;
}

}  // namespace eigenscale
