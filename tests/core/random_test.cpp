#include "eigenscale/core/random.h"

#include <cmath>
#include <set>

#include "support/mpi_test.h"

namespace eigenscale {
namespace {

TEST(CounterRandom, IsAPureFunctionOfItsArguments) {
  const CounterRandom a(7, "weights");
  const CounterRandom b(7, "weights");
  EXPECT_EQ(a.bits(123456789012ULL, 3), b.bits(123456789012ULL, 3));
  EXPECT_NE(a.bits(1), a.bits(2));
  EXPECT_NE(a.bits(1, 0), a.bits(1, 1));
  EXPECT_NE(a.bits(1), CounterRandom(8, "weights").bits(1));
  EXPECT_NE(a.bits(1), CounterRandom(7, "bias").bits(1));
}

TEST(CounterRandom, UniformHasTheRightMoments) {
  const CounterRandom random(1, "moments");
  constexpr int kDraws = 100000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double u = random.uniform(i);
    ASSERT_GT(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    squares += u * u;
  }
  // Five standard deviations of the mean: sqrt(1/12/n) and sqrt(4/45/n).
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / kDraws));
}

TEST(CounterRandom, NormalHasTheRightMoments) {
  const CounterRandom random(2, "moments");
  constexpr int kDraws = 100000;
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.normal(i);
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0, 5 / std::sqrt(kDraws));
  EXPECT_NEAR(squares / kDraws, 1, 5 * std::sqrt(2.0 / kDraws));
}

TEST(CounterRandom, IntegersCoverTheirRangeEvenly) {
  const CounterRandom random(3, "integers");
  std::array<int, 7> hits{};
  constexpr int kDraws = 70000;
  for (int i = 0; i < kDraws; ++i) {
    const auto value = random.integer(7, i);
    ASSERT_LT(value, 7U);
    ++hits[value];
  }
  for (const int count : hits) {
    EXPECT_NEAR(count, kDraws / 7.0, 5 * std::sqrt(kDraws / 7.0));
  }
}

TEST(CounterRandom, PermutationHoldsEveryIndexOnceAndMoves) {
  const auto order = CounterRandom(4, "shuffle").permutation(1000);
  EXPECT_EQ(std::set<std::int64_t>(order.begin(), order.end()).size(), 1000U);
  int fixed = 0;
  for (std::int64_t i = 0; i < 1000; ++i) {
    fixed += order[i] == i ? 1 : 0;
  }
  EXPECT_LT(fixed, 10);  // one is expected; ten or more have probability 1e-7
}

}  // namespace
}  // namespace eigenscale
