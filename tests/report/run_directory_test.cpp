#include "eigenscale/report/run_directory.h"

#include <fstream>

#include "eigenscale/core/errors.h"
#include "eigenscale/report/metrics_log.h"
#include "eigenscale/report/phase_timers.h"
#include "eigenscale/report/summary.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::world;

/// The agreed error that opening `path` gives on every rank.
ExitCode refusal(const std::filesystem::path& path, const EarlierRun& earlier = {}) {
  try {
    const RunDirectory directory(world(), path, earlier);
  } catch (const Error& error) {
    EXPECT_TRUE(error.agreed());
    EXPECT_THAT(error.what(), testing::HasSubstr(path.string()));
    return error.exit_code();
  }
  return ExitCode::kDone;
}

TEST(RunDirectory, IsCreatedWithItsParents) {
  const test::SharedDirectory shared;
  const RunDirectory directory(world(), shared.path() / "a" / "b");
  directory.write("note.txt", "text");
  EXPECT_TRUE(std::filesystem::exists(directory.file("note.txt")));
}

TEST(RunDirectory, RefusesAFinishedRunUnlessItMayBeReplaced) {
  const test::SharedDirectory shared;
  const auto path = shared.path() / "run";
  RunDirectory(world(), path).write("summary.json", "{}");
  EXPECT_EQ(refusal(path), ExitCode::kOptions);
  EXPECT_TRUE(std::filesystem::exists(path / "summary.json"));
  world().barrier();  // every rank has looked
  EXPECT_EQ(refusal(path, {.overwrite = true, .inputs = {}}), ExitCode::kDone);
  world().barrier();
  EXPECT_FALSE(std::filesystem::exists(path / "summary.json"));
}

TEST(RunDirectory, OverwritingKeepsWhatIsNotOurs) {
  const test::SharedDirectory shared;
  const auto path = shared.path() / "run";
  RunDirectory(world(), path).write("thesis.tex", "text");
  const RunDirectory again(world(), path, {.overwrite = true, .inputs = {}});
  EXPECT_TRUE(std::filesystem::exists(path / "thesis.tex"));
}

TEST(RunDirectory, LeavesFilesThatOnlyLookLikeARunsAlone) {
  const test::SharedDirectory shared;
  RunDirectory(world(), shared.path()).write("labels.npy", "somebody's");
  EXPECT_EQ(refusal(shared.path()), ExitCode::kOptions);
  EXPECT_TRUE(std::filesystem::exists(shared.path() / "labels.npy"));
}

TEST(RunDirectory, ReplacesWhatARunLeftThatEndedEarly) {
  const test::SharedDirectory shared;
  const RunDirectory first(world(), shared.path());
  first.write("configuration.ini", "seed=1");
  first.write("metrics.jsonl", "{}");
  EXPECT_EQ(refusal(shared.path()), ExitCode::kDone);
  world().barrier();
  EXPECT_FALSE(std::filesystem::exists(shared.path() / "metrics.jsonl"));
}

TEST(RunDirectory, NeverRemovesWhatIsToBeRead) {
  const test::SharedDirectory shared;
  const RunDirectory first(world(), shared.path());
  first.write("configuration.ini", "seed=1");
  for (const char* name : {"pretrained.safetensors", "whitened.h5"}) {
    first.write(name, "needed");
    const auto dataset = std::string(name).ends_with(".h5") ? ":whitened" : "";
    const EarlierRun earlier = {.overwrite = true,
                                .inputs = {(shared.path() / name).string() + dataset}};
    EXPECT_EQ(refusal(shared.path(), earlier), ExitCode::kOptions);
    EXPECT_TRUE(std::filesystem::exists(shared.path() / name));
  }
}

TEST(RunDirectory, RefusesAFileAndWhatCannotBeWritten) {
  const test::SharedDirectory shared;
  RunDirectory(world(), shared.path()).write("file", "text");
  EXPECT_EQ(refusal(shared.path() / "file"), ExitCode::kOutput);
  EXPECT_EQ(refusal(shared.path() / "file" / "below"), ExitCode::kOutput);
  EXPECT_EQ(refusal("/proc/eigenscale-run"), ExitCode::kOutput);
}

TEST(RunDirectory, GathersOneValuePerRank) {
  const auto all = gather_json(world(), {{"rank", world().rank()}});
  ASSERT_EQ(all.size(), static_cast<std::size_t>(world().size()));
  for (int rank = 0; rank < world().size(); ++rank) {
    EXPECT_EQ(all[rank]["rank"], rank);
  }
}

TEST(MetricsLog, HoldsOneObjectALine) {
  const test::SharedDirectory shared;
  MetricsLog log(world(), shared.path() / "metrics.jsonl");
  log.write({{"step", 1}});
  log.write({{"step", 2}});
  world().barrier();
  std::ifstream file(shared.path() / "metrics.jsonl");
  int expected = 0;
  for (std::string line; std::getline(file, line);) {
    EXPECT_EQ(nlohmann::json::parse(line)["step"], ++expected);
  }
  EXPECT_EQ(expected, 2);
}

TEST(Summary, HasTheKeysOfTheContract) {
  const auto summary = make_summary(world(), "eigenscale-test", "cpu", 1000);
  for (const char* key : {"schema_version", "program", "version", "ranks", "device", "metrics",
                          "peak_memory_bytes"}) {
    EXPECT_TRUE(summary.contains(key)) << key;
  }
  EXPECT_EQ(summary["ranks"], world().size());
  EXPECT_GE(summary["peak_memory_bytes"]["sum"], summary["peak_memory_bytes"]["max_rank"]);
}

TEST(PhaseTimers, AddUpByName) {
  PhaseTimers timers;
  timers.begin("one");
  timers.begin("two");
  timers.begin("one");
  timers.end();
  const auto seconds = timers.reduce(world());
  EXPECT_GE(seconds["total"], seconds["one"]);
  EXPECT_GE(seconds["two"], 0.0);
  EXPECT_EQ(seconds.size(), 3U);
}

}  // namespace
}  // namespace eigenscale
