#include "eigenscale/comm/thread_team.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

namespace eigenscale {
namespace {

class ThreadTeam : public testing::TestWithParam<int> {
 protected:
  ThreadTeam() { torch::set_num_threads(GetParam()); }
  ~ThreadTeam() override { torch::set_num_threads(before_); }

 private:
  int before_ = torch::get_num_threads();
};

TEST_P(ThreadTeam, DoesEveryNumberOnce) {
  for (const std::int64_t count : {0, 1, 2, 1000}) {
    std::vector<std::atomic<int>> times(count);
    in_team(count, [&](std::int64_t number) { ++times[number]; });
    for (std::int64_t number = 0; number < count; ++number) {
      EXPECT_EQ(times[number], 1) << number << " of " << count;
    }
  }
}

TEST_P(ThreadTeam, HasSoManyThreads) {
  std::mutex mutex;
  std::set<std::thread::id> seen;
  in_team(GetParam(), [&](std::int64_t) {
    {
      const std::lock_guard lock(mutex);
      seen.insert(std::this_thread::get_id());
    }
    // Until all others have come, too: one thread would wait here for good.
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    for (bool all = false; !all && std::chrono::steady_clock::now() < end;) {
      std::this_thread::yield();
      const std::lock_guard lock(mutex);
      all = std::ssize(seen) == GetParam();
    }
  });
  EXPECT_EQ(std::ssize(seen), GetParam());
}

TEST_P(ThreadTeam, ThrowsWhatTheSmallestNumberThrew) {
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::atomic<int> done = 0;
    try {
      in_team(50, [&](std::int64_t number) {
        ++done;
        if (number == 13 || number == 14 || number == 40) {
          throw std::runtime_error(std::to_string(number));
        }
      });
      ADD_FAILURE() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "13");
    }
    EXPECT_EQ(done, 50);
  }
}

TEST_P(ThreadTeam, HasNoTeamsWithin) {
  std::atomic<int> elsewhere = 0;
  in_team(GetParam() + 1, [&](std::int64_t) {
    const auto self = std::this_thread::get_id();
    EXPECT_TRUE(GetParam() == 1 || at::in_parallel_region());  // so that torch knows
    in_team(8, [&](std::int64_t) { elsewhere += std::this_thread::get_id() != self ? 1 : 0; });
  });
  EXPECT_EQ(elsewhere, 0);
}

TEST_P(ThreadTeam, HasAsManyThreadsAsTorchHasInTheThreadThatCalls) {
  EXPECT_EQ(team_threads(), GetParam());
  std::thread([] {
    torch::set_num_threads(1);  // as readers beside the main thread do
    EXPECT_EQ(team_threads(), 1);
  }).join();
  EXPECT_EQ(team_threads(), GetParam());
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadTeam, testing::Values(1, 2, 5));

}  // namespace
}  // namespace eigenscale
