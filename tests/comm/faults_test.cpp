#include "eigenscale/comm/progress_thread.h"

#include <chrono>

#include "eigenscale/comm/finite.h"
#include "eigenscale/comm/memory_check.h"
#include "eigenscale/comm/threads.h"
#include "eigenscale/core/errors.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::world;

class FailingWork final : public Work {
 public:
  void wait() override {}
  bool test() override { throw CommunicationError("MPI_Testall failed: no route"); }
};

TEST(ProgressThread, HandsItsFailureToTheCaller) {
  ProgressThread progress;
  FailingWork work;
  progress.add(work);
  std::string message;
  for (int i = 0; i < 1000 && message.empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    try {
      progress.release_all();
      progress.add(work);
    } catch (const CommunicationError& error) {
      message = error.what();
    }
  }
  EXPECT_EQ(message, "MPI_Testall failed: no route");
  EXPECT_NO_THROW(progress.release_all());
}

TEST(Collectives, RefuseTensorsThatAreSmallerThanTheirCounts) {
  const Communicator::Counts counts(world().size(), 2);
  const auto own = torch::ones({1});
  EXPECT_THROW(world().all_gather(torch::empty({2 * world().size()}), own, counts),
               std::invalid_argument);
  EXPECT_THROW(world().all_gather(torch::empty({1}), torch::ones({2}), counts),
               std::invalid_argument);
  EXPECT_THROW(
      world().reduce_scatter(own, torch::ones({2 * world().size()}), ReduceOp::kSum, counts),
      std::invalid_argument);
  EXPECT_THROW(world().all_to_all(torch::ones({2 * world().size()}), own, counts, counts),
               std::invalid_argument);
}

TEST(Collectives, WhatNobodyWaitsForKeepsItsMemory) {
  if (world().size() == 1) {
    GTEST_SKIP() << "one rank sends nothing";
  }
  // Rank 0 drops its end, as an exception between start and wait would.
  torch::Tensor output = torch::zeros({1000}, torch::kFloat64);
  const auto use_count = output.use_count();
  if (world().rank() == 0) {
    world().start_broadcast(output, 1);
    EXPECT_GT(output.use_count(), use_count);
    world().barrier();
  } else {
    const auto work = world().start_broadcast(output, 1);
    world().barrier();
    work->wait();
  }
  world().barrier();
}

TEST(Finite, IsAskedOnAllRanks) {
  auto values = torch::ones({3, 2}, world().rank() == 0 ? torch::kFloat64 : torch::kFloat32);
  EXPECT_NO_THROW(require_finite(world(), values, "a matrix", "scale it"));
  EXPECT_TRUE(all_finite(torch::full({4}, 1e308, torch::kFloat64)));
  EXPECT_TRUE(all_finite(torch::ones({2}, torch::kInt64)));
  if (world().rank() == world().size() - 1) {
    values[1][1] = NAN;
  }
  try {
    require_finite(world(), values, "a matrix", "scale it");
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kNumerical);
    EXPECT_TRUE(error.agreed());
    EXPECT_STREQ(error.what(), "a matrix holds values that are not finite: scale it");
  }
}

TEST(MemoryCheck, NamesTheRanksThatWouldDo) {
  const MemoryNeed need{"1,000 things need",
                        [](std::int64_t ranks) { return 1e18 / static_cast<double>(ranks) + 5; }};
  EXPECT_EQ(ranks_that_fit(need, 1e15 + 5, 1), 1000);
  EXPECT_EQ(ranks_that_fit(need, 2e18, 1), 1);
  EXPECT_EQ(ranks_that_fit(need, 4, 1), 0);
  EXPECT_EQ(ranks_that_fit({"", need.bytes_of_rank, 7}, 1e18, 1), 7);
  try {
    require_memory(world(), need);
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kOptions);
    EXPECT_TRUE(error.agreed());
    EXPECT_THAT(error.what(), testing::HasSubstr("1,000 things need"));
    EXPECT_THAT(error.what(), testing::HasSubstr("ranks would do"));
  }
  EXPECT_THAT(require_memory(world(), {"Nothing needs", [](std::int64_t) { return 1.0; }}),
              testing::HasSubstr("Nothing needs 0 MiB on each of"));
}

TEST(Processors, MasksOfMoreThan1024AreCounted) {
  const auto large_machine = [](std::size_t bytes, cpu_set_t* mask) {
    if (bytes < 4096 / 8) {
      return -1;
    }
    CPU_SET_S(3, bytes, mask);
    CPU_SET_S(2000, bytes, mask);
    CPU_SET_S(4000, bytes, mask);
    return 0;
  };
  EXPECT_EQ(processors_in_mask(large_machine), 3);
  EXPECT_EQ(processors_in_mask([](std::size_t, cpu_set_t*) { return -1; }), 1);
}

}  // namespace
}  // namespace eigenscale
