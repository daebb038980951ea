#include "eigenscale/report/run_comparison.h"

#include "eigenscale/core/errors.h"
#include "eigenscale/report/run_directory.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::world;

TEST(RunComparison, ShowsOneLineARun) {
  const test::SharedDirectory shared;
  for (const char* name : {"one", "two"}) {
    RunDirectory(world(), shared.path() / name)
        .write("summary.json", R"({"program": "p", "ranks": 2, "metrics": {"accuracy": 0.75}})");
  }
  const auto table = compare_runs({shared.path() / "one", shared.path() / "two"});
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 3);
  EXPECT_THAT(table, testing::HasSubstr("0.75"));
}

TEST(RunComparison, NamesTheDirectoryWithoutARun) {
  const test::SharedDirectory shared;
  EXPECT_THROW(compare_runs({shared.path()}), InputError);
  RunDirectory(world(), shared.path()).write("summary.json", "{ not json");
  EXPECT_THROW(compare_runs({shared.path()}), InputError);
}

}  // namespace
}  // namespace eigenscale
