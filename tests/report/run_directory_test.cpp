#include "eigenscale/report/run_directory.h"

#include <chrono>
#include <fstream>
#include <thread>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/report/metrics_log.h"
#include "eigenscale/report/phase_timers.h"
#include "eigenscale/report/summary.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

namespace fs = std::filesystem;
using test::world;

const RunFiles kFiles = {.inputs = {}, .outputs = {"labels.npy", "data.npy", "whitened.h5"}};

/// [collective] A text file, of nobody's run.
void place(const fs::path& path, const std::string& text = "text") {
  on_first_rank(world(), [&] {
    fs::create_directories(path.parent_path());
    write_file(path, text);
  });
}

/// [collective] A finished run with labels and a run's other files.
void finished_run(const fs::path& path) {
  RunDirectory directory(world(), path);
  directory.claim("eigenscale-test", "seed=1\n", kFiles);
  directory.write("labels.npy", "labels");
  directory.write("summary.json", "{}");
}

/// [collective] True on all ranks while `path` is there; none goes on before every one has looked.
bool all_see(const fs::path& path) {
  const bool found = fs::exists(path);
  world().barrier();
  return found;
}

/// The agreed error that claiming `path` gives on every rank.
ExitCode refusal(const fs::path& path, const EarlierRun& earlier = {},
                 const RunFiles& files = kFiles) {
  try {
    RunDirectory directory(world(), path, earlier);
    directory.claim("eigenscale-test", "seed=1\n", files);
  } catch (const Error& error) {
    EXPECT_TRUE(error.agreed());
    EXPECT_THAT(error.what(), testing::HasSubstr(path.string()));
    return error.exit_code();
  }
  return ExitCode::kDone;
}

TEST(RunDirectory, IsCreatedWithItsParents) {
  const test::SharedDirectory shared;
  RunDirectory directory(world(), shared.path() / "a" / "b");
  EXPECT_FALSE(all_see(shared.path() / "a"));  // looking changes nothing
  directory.claim("eigenscale-test", "seed=1\n");
  directory.write("note.txt", "text");
  EXPECT_TRUE(all_see(directory.file("note.txt")));
  EXPECT_TRUE(all_see(directory.file("environment.json")));
}

TEST(RunDirectory, RefusesAFinishedRunUnlessItMayBeReplaced) {
  const test::SharedDirectory shared;
  const auto path = shared.path() / "run";
  finished_run(path);
  EXPECT_EQ(refusal(path), ExitCode::kOptions);
  EXPECT_TRUE(all_see(path / "summary.json"));
  EXPECT_EQ(refusal(path, {.overwrite = true}), ExitCode::kDone);
  EXPECT_FALSE(all_see(path / "summary.json"));
  EXPECT_FALSE(all_see(path / "labels.npy"));
}

TEST(RunDirectory, WritesNothingMoreWhenAnotherRunTookIt) {
  const test::SharedDirectory shared;
  RunDirectory directory(world(), shared.path() / "run");
  directory.claim("eigenscale-test", "seed=1\n", kFiles);
  directory.require_lock();
  on_first_rank(world(), [&] {
    fs::rename(directory.file(RunLock::kName), directory.file("taken"));
    fs::remove(directory.file("taken"));
  });
  // The holder looks every five seconds.
  const auto taken = [&] {
    try {
      directory.require_lock();
    } catch (const Error& error) {
      EXPECT_TRUE(error.agreed());
      EXPECT_EQ(error.exit_code(), ExitCode::kOutput);
      return true;
    }
    return false;
  };
  const double begin = now_seconds();
  while (!taken() && now_seconds() - begin < 60) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_THROW(directory.write("labels.npy", "labels"), Error);
  EXPECT_FALSE(all_see(directory.file("labels.npy")));
}

TEST(RunDirectory, ResumingNeedsSomethingToGoOnWith) {
  const test::SharedDirectory shared;
  const auto finished = shared.path() / "finished";
  finished_run(finished);
  EXPECT_EQ(refusal(finished, {.resume = true}), ExitCode::kOptions);
  EXPECT_TRUE(all_see(finished / "summary.json"));
  place(finished / "checkpoints" / "1" / "manifest.json");
  EXPECT_EQ(refusal(finished, {.resume = true}), ExitCode::kDone);
  EXPECT_FALSE(all_see(finished / "summary.json"));
  EXPECT_TRUE(all_see(finished / "labels.npy"));

  const auto foreign = shared.path() / "foreign" / "data.npy";
  place(foreign, "somebody's");
  EXPECT_EQ(refusal(foreign.parent_path(), {.resume = true}), ExitCode::kOptions);
  EXPECT_TRUE(all_see(foreign));

  // Ended before its first checkpoint, or not there at all: a job script always says --resume.
  const auto begun = shared.path() / "begun";
  RunDirectory(world(), begun).claim("eigenscale-test", "seed=1\n", kFiles);
  EXPECT_EQ(refusal(begun, {.resume = true}), ExitCode::kDone);
  EXPECT_EQ(refusal(shared.path() / "new", {.resume = true}), ExitCode::kDone);
}

TEST(RunDirectory, RemovesNothingBeforeItIsClaimed) {
  const test::SharedDirectory shared;
  finished_run(shared.path());
  const RunDirectory directory(world(), shared.path(), {.overwrite = true});
  EXPECT_TRUE(all_see(shared.path() / "summary.json"));
  EXPECT_TRUE(all_see(shared.path() / "labels.npy"));
}

TEST(RunDirectory, OverwritingTakesWhatTheEarlierProgramWrote) {
  const test::SharedDirectory shared;
  finished_run(shared.path());
  place(shared.path() / "thesis.tex");
  EXPECT_EQ(refusal(shared.path(), {.overwrite = true}, {.inputs = {}, .outputs = {"other.npy"}}),
            ExitCode::kDone);
  EXPECT_FALSE(all_see(shared.path() / "labels.npy"));
  EXPECT_TRUE(all_see(shared.path() / "thesis.tex"));
}

TEST(RunDirectory, NamesInTheEnvironmentStayInTheDirectory) {
  const test::SharedDirectory shared;
  place(shared.path() / "victim");
  place(shared.path() / "run" / "configuration.ini");
  place(shared.path() / "run" / "environment.json", R"({"outputs": ["../victim", "..", "."]})");
  EXPECT_EQ(refusal(shared.path() / "run", {.overwrite = true}), ExitCode::kDone);
  EXPECT_TRUE(all_see(shared.path() / "victim"));
}

TEST(RunDirectory, LeavesFilesThatOnlyLookLikeARunsAlone) {
  const test::SharedDirectory shared;
  place(shared.path() / "data.npy", "somebody's");
  EXPECT_EQ(refusal(shared.path()), ExitCode::kOptions);
  EXPECT_TRUE(all_see(shared.path() / "data.npy"));
  // A run that ended early was here, too, but of a program without data.npy.
  const RunFiles others = {.inputs = {}, .outputs = {"labels.npy"}};
  EXPECT_EQ(refusal(shared.path(), {}, others), ExitCode::kDone);
  EXPECT_EQ(refusal(shared.path()), ExitCode::kOptions);
  EXPECT_TRUE(all_see(shared.path() / "data.npy"));
}

TEST(RunDirectory, ReplacesWhatARunLeftThatEndedEarly) {
  const test::SharedDirectory shared;
  EXPECT_EQ(refusal(shared.path()), ExitCode::kDone);
  place(shared.path() / "metrics.jsonl", "{}");
  place(shared.path() / "labels.npy");
  place(temporary_name(shared.path() / "labels.npy", "killed"));
  EXPECT_EQ(refusal(shared.path()), ExitCode::kDone);
  EXPECT_FALSE(all_see(shared.path() / "metrics.jsonl"));
  EXPECT_FALSE(all_see(shared.path() / "labels.npy"));
  EXPECT_FALSE(all_see(temporary_name(shared.path() / "labels.npy", "killed")));
}

TEST(RunDirectory, NeverRemovesWhatIsToBeRead) {
  const test::SharedDirectory shared;
  finished_run(shared.path());
  place(shared.path() / "whitened.h5");
  place(shared.path() / "checkpoints" / "step-1" / "model.safetensors");
  const RunFiles training = {.inputs = {}, .outputs = {"checkpoints"}};
  for (const auto& [name, files] : std::initializer_list<std::pair<const char*, RunFiles>>{
           {"labels.npy", kFiles},
           {"whitened.h5:whitened", kFiles},
           {"checkpoints/step-1/model.safetensors", training}}) {
    auto reading = files;
    reading.inputs = {(shared.path() / name).string()};
    EXPECT_EQ(refusal(shared.path(), {.overwrite = true}, reading), ExitCode::kOptions) << name;
    EXPECT_TRUE(all_see(shared.path() / "labels.npy"));
    EXPECT_TRUE(all_see(shared.path() / "checkpoints" / "step-1" / "model.safetensors"));
  }
}

TEST(RunDirectory, RefusesAFileAndWhatCannotBeWritten) {
  const test::SharedDirectory shared;
  place(shared.path() / "file");
  EXPECT_EQ(refusal(shared.path() / "file"), ExitCode::kOutput);
  EXPECT_EQ(refusal(shared.path() / "file" / "below"), ExitCode::kOutput);
  EXPECT_EQ(refusal("/proc/eigenscale-run"), ExitCode::kOutput);
}

TEST(RunDirectory, BelongsToOneRunAtATime) {
  const test::SharedDirectory shared;
  {
    RunDirectory first(world(), shared.path());
    first.claim("eigenscale-test", "seed=1\n");
    EXPECT_EQ(refusal(shared.path(), {.overwrite = true}), ExitCode::kOptions);
    world().barrier();
  }
  EXPECT_EQ(refusal(shared.path()), ExitCode::kDone);
}

TEST(RunDirectory, GathersOneValuePerRank) {
  const auto all =
      gather_json(world(), {{"rank", world().rank()}, {"text", std::string(world().rank(), 'x')}});
  ASSERT_EQ(all.size(), world().rank() == 0 ? static_cast<std::size_t>(world().size()) : 0U);
  for (int rank = 0; rank < std::ssize(all); ++rank) {
    EXPECT_EQ(all[rank]["rank"], rank);
    EXPECT_EQ(all[rank]["text"].get<std::string>().size(), static_cast<std::size_t>(rank));
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

TEST(PhaseTimers, CollectivesBelongToTheirPhase) {
  PhaseTimers timers;
  const auto exchange = [](int times) {
    for (int i = 0; i < times; ++i) {
      world().all_reduce(torch::ones({8}, torch::kFloat64));
    }
  };
  timers.begin("quiet");
  timers.begin("one");
  exchange(3);
  timers.begin("two");
  exchange(1);
  timers.begin("one");
  exchange(2);
  timers.end();
  exchange(7);
  const auto counted = timers.reduce_communication(world());
  EXPECT_FALSE(counted.contains("quiet"));
  EXPECT_EQ(counted["one"]["calls"], 5);
  EXPECT_EQ(counted["one"]["bytes"], 5 * 64);
  EXPECT_EQ(counted["two"]["calls"], 1);
  EXPECT_EQ(counted["two"]["bytes"], 64);
  EXPECT_GT(counted["one"]["seconds"], 0.0);
}

}  // namespace
}  // namespace eigenscale
