#include "eigenscale/comm/agreement.h"

#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::world;

TEST(Agreement, PassesWhenNobodyFails) {
  int calls = 0;
  on_all_ranks(world(), [&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

TEST(Agreement, AllRanksThrowTheErrorOfTheLowestFailingRank) {
  const int last = world().size() - 1;
  try {
    on_all_ranks(world(), [&] {
      if (world().rank() == last) {
        throw OutputError("disk full on the last rank");
      }
    });
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "disk full on the last rank");
    EXPECT_EQ(error.exit_code(), ExitCode::kOutput);
    EXPECT_TRUE(error.agreed());
  }
}

TEST(Agreement, ForeignErrorsGetTheStatedCode) {
  try {
    on_all_ranks(
        world(), [] { throw std::runtime_error("odd"); }, ExitCode::kNumerical);
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kNumerical);
  }
}

TEST(Agreement, ProblemsThatDoNotFitAreMistakesOfOptions) {
  try {
    on_all_ranks(
        world(), [] { torch::empty({std::int64_t{1} << 48}); }, ExitCode::kOutput);
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kOptions);
    EXPECT_THAT(error.what(), testing::StartsWith("out of memory"));
  }
}

TEST(Agreement, DifferentOptionsAreRefusedOnAllRanks) {
  require_same_on_all_ranks(world(), "the configuration", "same");
  if (world().size() > 1) {
    EXPECT_THROW(
        require_same_on_all_ranks(world(), "the configuration", world().rank() == 0 ? "a" : "b"),
        Error);
  }
}

}  // namespace
}  // namespace eigenscale
