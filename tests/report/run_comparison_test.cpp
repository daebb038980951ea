#include "eigenscale/report/run_comparison.h"

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

/// [collective]
void write_summary(const std::filesystem::path& directory, const std::string& text) {
  on_first_rank(test::world(), [&] {
    std::filesystem::create_directories(directory);
    write_file(directory / "summary.json", text);
  });
}

TEST(RunComparison, ShowsOneLineARun) {
  const test::SharedDirectory shared;
  for (const char* name : {"one", "two"}) {
    write_summary(shared.path() / name,
                  R"({"program": "p", "ranks": 2, "metrics": {"accuracy": 0.75}})");
  }
  const auto table = compare_runs({shared.path() / "one", shared.path() / "two"});
  EXPECT_EQ(std::count(table.begin(), table.end(), '\n'), 3);
  EXPECT_THAT(table, testing::HasSubstr("0.75"));
}

TEST(RunComparison, NamesTheDirectoryWithoutARun) {
  const test::SharedDirectory shared;
  EXPECT_THROW(compare_runs({shared.path()}), InputError);
  write_summary(shared.path(), "{ not json");
  EXPECT_THROW(compare_runs({shared.path()}), InputError);
}

}  // namespace
}  // namespace eigenscale
