#include "eigenscale/comm/thread_team.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>

namespace eigenscale {
namespace {

std::atomic<int> team_threads = 1;

}  // namespace

void set_team_threads(int threads) { team_threads = std::max(1, threads); }

void in_team(std::int64_t count, const std::function<void(std::int64_t)>& work) {
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
  const int threads = static_cast<int>(std::clamp<std::int64_t>(count, 1, team_threads));
  // OpenMP's, which are torch's, too: loops of torch in `work` know that they are in one.
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
  for (std::int64_t number = 0; number < count; ++number) {
    guarded(number);
  }
  if (failure) {
    std::rethrow_exception(failure);
  }
}

}  // namespace eigenscale
