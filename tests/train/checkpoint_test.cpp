#include "eigenscale/train/checkpoint.h"

#include <fstream>

#include "eigenscale/core/errors.h"
#include "train/training_test_support.h"

namespace eigenscale {
namespace {

namespace fs = std::filesystem;
using test::difference;
using test::identical;
using test::small_network;
using test::small_run;
using testing::HasSubstr;

/// [collective] One run over `communicator`, from the newest checkpoint in the options' folder if
/// there is one, that ends after `epochs`.
NamedTensors run_until(const Communicator& communicator, TrainerOptions options,
                       std::int64_t epochs, torch::ScalarType precision = torch::kFloat64,
                       const nlohmann::json& specification = small_network()) {
  const auto samples = test::three_textures(communicator);
  Network network(communicator, specification, precision, 3);
  options.epochs = epochs;
  Trainer trainer(communicator, network, samples, &samples, options);
  if (!options.checkpoints.empty()) {
    if (const auto newest = newest_checkpoint(communicator, options.checkpoints)) {
      trainer.restore(*newest);
    }
  }
  trainer.run({});
  return test::copy_of(network);
}

std::vector<TrainerOptions> variants() {
  std::vector<TrainerOptions> result(4, small_run());
  result[1].optimizer.kind = OptimizerOptions::Kind::kAdam;
  result[1].learning_rate = {.kind = LearningRateSchedule::Kind::kStep,
                             .base = 1e-2,
                             .warmup_epochs = 1,
                             .step_epochs = 2,
                             .epochs = 4};
  result[1].batches.augmentation = {.crop = 1, .flip = true};
  result[2].optimizer.sharded = true;
  result[2].optimizer.nesterov = true;
  result[3].checkpoint_every = 7;  // in the middle of epochs of five steps
  return result;
}

TEST(CheckpointTest, GoingOnIsBitIdenticalToGoingThrough) {
  for (auto options : variants()) {
    for (const auto precision : {torch::kFloat32, torch::kFloat64}) {
      const auto through = run_until(test::world(), options, 4, precision);
      const test::SharedDirectory directory;
      options.checkpoints = directory.path();
      run_until(test::world(), options, 2, precision);
      EXPECT_TRUE(identical(run_until(test::world(), options, 4, precision), through));
      options.checkpoints.clear();
    }
  }
}

TEST(CheckpointTest, WhiteningAndBfloat16GoOnBitIdenticallyToo) {
  const std::vector<std::pair<nlohmann::json, torch::ScalarType>> cases = {
      {{{"kind", "zca"}, {"groups", 2}}, torch::kFloat32},
      {{{"kind", "pca-denoise"}}, torch::kFloat32},
      {{{"kind", "batch"}}, torch::kBFloat16}};
  for (const auto& [normalization, precision] : cases) {
    const auto network = small_network("cnn:6,8", normalization);
    auto options = small_run();
    options.checkpoint_every = 7;
    const auto through = run_until(test::world(), options, 4, precision, network);
    const test::SharedDirectory directory;
    options.checkpoints = directory.path();
    run_until(test::world(), options, 2, precision, network);
    EXPECT_TRUE(identical(run_until(test::world(), options, 4, precision, network), through))
        << normalization << " " << precision_name(precision);
  }
}

TEST(CheckpointTest, ARunThatEndedForLackOfPatienceStaysEnded) {
  auto options = small_run();
  options.learning_rate.base = 0;  // no validation is better than the first
  options.patience = 1;
  options.epochs = 9;
  const test::SharedDirectory directory;
  options.checkpoints = directory.path();
  const auto samples = test::three_textures(test::world());
  const auto run = [&](std::int64_t patience) {
    Network network(test::world(), small_network("mlp:4", nullptr), torch::kFloat64, 3);
    options.patience = patience;
    Trainer trainer(test::world(), network, samples, &samples, options);
    if (const auto newest = newest_checkpoint(test::world(), options.checkpoints)) {
      trainer.restore(*newest);
    }
    const auto end = trainer.run({});
    return std::pair(end, trainer.epochs_done());
  };
  EXPECT_EQ(run(1), std::pair(TrainingEnd::kPatience, std::int64_t{2}));
  EXPECT_EQ(run(1), std::pair(TrainingEnd::kPatience, std::int64_t{2}));
  EXPECT_EQ(run(3), std::pair(TrainingEnd::kPatience, std::int64_t{4}));  // more of it goes on
}

TEST(CheckpointTest, LinesOfMetricsAreThoseOfARunThatWentThrough) {
  auto options = small_run();
  options.log_every = 4;         // epochs have five steps: lines span them,
  options.checkpoint_every = 6;  // and checkpoints lie within lines
  const auto lines = [&](std::int64_t epochs, bool resume) {
    const auto samples = test::three_textures(test::world());
    Network network(test::world(), small_network(), torch::kFloat64, 3);
    options.epochs = epochs;
    Trainer trainer(test::world(), network, samples, nullptr, options);
    if (resume) {
      trainer.restore(*newest_checkpoint(test::world(), options.checkpoints));
    }
    std::vector<std::tuple<std::int64_t, double, double>> result;
    TrainingEvents events;
    events.step = [&](const StepReport& step) {
      result.emplace_back(step.step, step.loss, step.error);
    };
    trainer.run(events);
    return result;
  };
  auto through = lines(4, false);
  const test::SharedDirectory directory;
  options.checkpoints = directory.path();
  lines(2, false);  // ends, with a checkpoint, after step 10
  const auto rest = lines(4, true);
  through.erase(through.begin(), through.begin() + 2);
  EXPECT_EQ(rest, through);  // of steps 12, 16, 20
}

TEST(CheckpointTest, GoesOnFromTheMiddleOfAnEpoch) {
  auto options = small_run();
  options.checkpoint_every = 3;
  options.keep = 100;
  const test::SharedDirectory directory;
  options.checkpoints = directory.path();
  const auto through = run_until(test::world(), options, 4);
  // As if the job had died after step 9, which is the fourth of the second epoch.
  if (test::world().rank() == 0) {
    for (const auto& entry : fs::directory_iterator(directory.path())) {
      if (entry.path().filename() > "step-0000000009") {
        fs::remove_all(entry.path());
      }
    }
  }
  test::world().barrier();
  ASSERT_EQ(newest_checkpoint(test::world(), directory.path())->filename(), "step-0000000009");
  EXPECT_TRUE(identical(run_until(test::world(), options, 4), through));
}

TEST(CheckpointTest, AnotherNumberOfRanksGoesOnToRounding) {
  for (auto options : variants()) {
    const auto through = run_until(test::world(), options, 4);
    const test::SharedDirectory directory;
    options.checkpoints = directory.path();
    run_until(test::world(), options, 2);
    // Rank 0 goes on alone.
    const auto some = test::world().split(test::world().rank() == 0 ? 0 : 1, 0);
    if (test::world().rank() == 0) {
      // 20 steps in double, sums of 1,280 terms in another order.
      EXPECT_LE(difference(run_until(*some, options, 4), through), 1e-9);
    }
    test::world().barrier();
  }
}

class DamagedCheckpoint : public testing::Test {
 protected:
  DamagedCheckpoint() {
    options_.checkpoints = directory_.path();
    run_until(test::world(), options_, 2);
    newest_ = *newest_checkpoint(test::world(), directory_.path());
  }

  /// [collective] `damage` by rank 0, and what reading then says.
  template <typename Damage>
  std::string message_after(Damage damage) {
    if (test::world().rank() == 0) {
      damage(newest_);
    }
    test::world().barrier();
    try {
      run_until(test::world(), options_, 4);
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kInput);
      EXPECT_TRUE(error.agreed());
      return error.what();
    }
    return "no error";
  }

  static void flip_byte(const fs::path& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(0, std::ios::end);
    const auto middle = static_cast<std::streamoff>(file.tellg()) / 2;
    file.seekg(middle);
    const int byte = file.get();
    file.seekp(middle);
    file.put(static_cast<char>(byte ^ 1));
  }

  static void replace(const fs::path& path, const std::string& from, const std::string& to) {
    std::ifstream in(path);
    std::string text((std::istreambuf_iterator<char>(in)), {});
    ASSERT_NE(text.find(from), std::string::npos);
    text.replace(text.find(from), from.size(), to);
    std::ofstream(path) << text;
  }

  test::SharedDirectory directory_;
  TrainerOptions options_ = small_run();
  fs::path newest_;
};

TEST_F(DamagedCheckpoint, FlippedByteOfAnyFile) {
  for (const std::string name :
       {"model.safetensors", "best.safetensors", "optimizer-momentum.npy", "state.json"}) {
    EXPECT_THAT(message_after([&](const fs::path& path) { flip_byte(path / name); }),
                testing::AllOf(HasSubstr(name), HasSubstr("is damaged"), HasSubstr("remove '")));
    if (test::world().rank() == 0) {
      flip_byte(newest_ / name);  // and back
    }
  }
}

TEST_F(DamagedCheckpoint, ShortMissingAndNewer) {
  EXPECT_THAT(
      message_after([](const fs::path& path) {
        replace(path / "manifest.json", "\"version\": 1", "\"version\": 2");
      }),
      HasSubstr("eigenscale-checkpoint 2; this version reads eigenscale-checkpoint up to 1"));
  EXPECT_THAT(message_after([](const fs::path& path) {
                replace(path / "manifest.json", "\"version\": 2", "\"version\": 1");
                fs::resize_file(path / "model.safetensors", 100);
              }),
              HasSubstr("damaged: 100 bytes"));
  EXPECT_THAT(message_after([](const fs::path& path) { fs::remove(path / "model.safetensors"); }),
              HasSubstr("model.safetensors' is missing"));
  EXPECT_THAT(message_after([](const fs::path& path) { fs::remove(path / "manifest.json"); }),
              HasSubstr("manifest.json' is missing"));
}

TEST_F(DamagedCheckpoint, OfAnotherRun) {
  options_.batches.batch_size = 30;
  EXPECT_THAT(message_after([](const fs::path&) {}),
              HasSubstr("it has batch-size 20, but now it is 30"));
  options_.batches.batch_size = 20;
  options_.optimizer.nesterov = true;
  EXPECT_THAT(message_after([](const fs::path&) {}),
              HasSubstr("it has nesterov false, but now it is true"));
  options_.optimizer.nesterov = false;
  options_.micro_batch = 4;
  EXPECT_THAT(message_after([](const fs::path&) {}),
              HasSubstr("it has micro-batch 0, but now it is 4"));
  options_.micro_batch = 0;
  options_.reducer.wire_type = torch::kBFloat16;
  EXPECT_THAT(message_after([](const fs::path&) {}),
              HasSubstr("it has gradient-type \"own\", but now it is \"bfloat16\""));
  options_.reducer.wire_type.reset();
  options_.optimizer.kind = OptimizerOptions::Kind::kAdam;
  EXPECT_THAT(message_after([](const fs::path&) {}), HasSubstr("is of another run"));
}

TEST(CheckpointTest, FloatAndBfloat16AreDifferentRuns) {
  auto options = small_run();
  const test::SharedDirectory directory;
  options.checkpoints = directory.path();
  run_until(test::world(), options, 1, torch::kFloat32);
  try {
    run_until(test::world(), options, 2, torch::kBFloat16);
    ADD_FAILURE() << "went on";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("it has precision \"float\", but now it is \"bfloat16\""));
  }
}

// Ranks wait for rank 0's word: what it cannot read must be everybody's error.
TEST(CheckpointFolderTest, AFileInTheirPlaceIsAnErrorOfAllRanks) {
  const test::SharedDirectory directory;
  const auto place = directory.path() / "checkpoints";
  if (test::world().rank() == 0) {
    std::ofstream(place) << "mine";
  }
  test::world().barrier();
  try {
    newest_checkpoint(test::world(), place);
    ADD_FAILURE() << "took a file for an empty directory";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kInput);
    EXPECT_TRUE(error.agreed());
    EXPECT_THAT(error.what(), HasSubstr(place.string()));
  }
}

TEST(CheckpointFolderTest, KeepsTheLastAndIgnoresWhatIsNotOne) {
  const test::SharedDirectory directory;
  EXPECT_FALSE(newest_checkpoint(test::world(), directory.path()));
  EXPECT_FALSE(newest_checkpoint(test::world(), directory.path() / "nowhere"));
  if (test::world().rank() == 0) {
    fs::create_directory(directory.path() / ".step-0000000099.partial");  // a job died writing it
    fs::create_directory(directory.path() / "step-99x");
    std::ofstream(directory.path() / "notes.txt") << "mine";
  }
  test::world().barrier();
  auto options = small_run();
  options.checkpoints = directory.path();
  options.keep = 2;
  run_until(test::world(), options, 4);
  EXPECT_EQ(newest_checkpoint(test::world(), directory.path())->filename(), "step-0000000020");
  EXPECT_TRUE(fs::exists(directory.path() / "step-0000000015"));
  EXPECT_FALSE(fs::exists(directory.path() / "step-0000000010"));
  EXPECT_TRUE(fs::exists(directory.path() / "notes.txt"));
}

}  // namespace
}  // namespace eigenscale
