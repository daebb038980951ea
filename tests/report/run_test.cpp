#include "eigenscale/report/run.h"

#include <fstream>

#include "eigenscale/core/errors.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

namespace fs = std::filesystem;
using test::world;

nlohmann::json read_json(const fs::path& path) {
  std::ifstream file(path);
  return nlohmann::json::parse(file);
}

RunOptions options(const fs::path& path) {
  RunOptions result;
  result.program = "eigenscale-test";
  result.output = path;
  result.progress = Progress::Mode::kNever;
  result.configuration = "seed=1\n";
  return result;
}

TEST(Run, WritesTheSummaryWithWhatHappened) {
  const test::SharedDirectory shared;
  eigenscale::Run run(world(), options(shared.path() / "run"));
  run.phase("read");
  run.claim({.inputs = {}, .outputs = {"labels.npy"}});
  run.open_log();
  run.phase("work");
  run.log({{"step", 1}});
  run.progress("work", 10, 1, "text");
  run.warn("twice");
  run.warn("twice");
  run.summary()["metrics"]["accuracy"] = 0.5;
  run.summary()["own"] = 7;
  bool called = false;
  run.finish([&](const nlohmann::json& summary) {
    called = summary.contains("seconds") && !fs::exists(run.file("summary.json"));
    return "<html>";
  });
  EXPECT_TRUE(called);
  world().barrier();
  const auto summary = read_json(run.file("summary.json"));
  EXPECT_EQ(summary["program"], "eigenscale-test");
  EXPECT_EQ(summary["metrics"]["accuracy"], 0.5);
  EXPECT_EQ(summary["own"], 7);
  EXPECT_EQ(summary["warnings"], nlohmann::json::array({"twice"}));
  for (const char* key : {"total", "read", "work"}) {
    EXPECT_TRUE(summary["seconds"].contains(key)) << key;
  }
  const auto environment = read_json(run.file("environment.json"));
  EXPECT_EQ(environment["program"], "eigenscale-test");
  EXPECT_EQ(environment["outputs"], nlohmann::json::array({"labels.npy"}));
  EXPECT_EQ(environment["ranks"].size(), static_cast<std::size_t>(world().size()));
  EXPECT_EQ(read_json(run.file("metrics.jsonl")), (nlohmann::json{{"step", 1}}));
  EXPECT_FALSE(fs::exists(run.file("trace.json")));
}

TEST(Run, LeavesNoSummaryWhenItStopsOrFails) {
  const test::SharedDirectory shared;
  {
    eigenscale::Run run(world(), options(shared.path()));
    run.claim({});
    run.stop();
  }
  world().barrier();  // the lock goes with the first rank's run
  EXPECT_FALSE(fs::exists(shared.path() / "summary.json"));
  EXPECT_FALSE(fs::exists(shared.path() / ".eigenscale.lock"));
}

TEST(Run, KeepsTheEarlierOneUntilTheInputsAreGood) {
  const test::SharedDirectory shared;
  {
    eigenscale::Run run(world(), options(shared.path()));
    run.claim({});
    run.finish();
  }
  auto again = options(shared.path());
  EXPECT_THROW(eigenscale::Run(world(), again), Error);
  again.overwrite = true;
  {
    eigenscale::Run run(world(), again);
    run.phase("read");  // and here an input turns out to be bad
  }
  EXPECT_TRUE(fs::exists(shared.path() / "summary.json"));
  world().barrier();
  eigenscale::Run run(world(), again);
  run.claim({});
  EXPECT_FALSE(fs::exists(shared.path() / "summary.json"));
  world().barrier();
}

TEST(Run, TracesWhereAskedTo) {
  const test::SharedDirectory shared;
  auto traced = options(shared.path());
  traced.trace = true;
  eigenscale::Run run(world(), traced);
  run.claim({});
  run.finish();
  world().barrier();
  EXPECT_GE(read_json(run.file("trace.json"))["traceEvents"].size(),
            static_cast<std::size_t>(world().size()));
}

}  // namespace
}  // namespace eigenscale
