#include "eigenscale/train/trainer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/trace.h"
#include "train/training_test_support.h"

namespace eigenscale {
namespace {

using test::alone;
using test::difference;
using test::identical;
using test::small_network;
using test::small_run;
using test::train;
using testing::HasSubstr;

// A hundred steps in double: sums of 20 x 64 terms in another order are off by 1e-14, and a
// hundred steps of a small network blow that up by less than 1e5.
TEST(TrainerTest, LossesDoNotDependOnTheNumberOfRanks) {
  auto options = small_run();
  options.epochs = 20;
  const std::vector<nlohmann::json> layers = {
      nullptr,
      {{"kind", "batch"}},
      {{"kind", "zca"}},
      {{"kind", "zca"}, {"groups", 2}},
      {{"kind", "zca"}, {"gradient_rule", "taylor"}},
      {{"kind", "pca-denoise"}, {"components", 3}},
  };
  for (const auto& layer : layers) {
    const auto specification = small_network("cnn:6,8", layer);
    const auto many = train(test::world(), options, specification);
    const auto one = train(*alone(), options, specification);
    ASSERT_EQ(many.losses.size(), 100U);
    for (std::size_t i = 0; i < one.losses.size(); ++i) {
      ASSERT_NEAR(many.losses[i], one.losses[i], 1e-9 * (1 + one.losses[i])) << layer << " " << i;
    }
    EXPECT_LT(one.losses.back(), 0.5 * one.losses.front()) << layer;
  }
}

TEST(TrainerTest, SinglePrecisionFollowsOneRankForTenSteps) {
  auto options = small_run();
  options.epochs = 2;
  for (const std::string kind : {"batch", "zca"}) {
    const auto specification = small_network("cnn:6,8", {{"kind", kind}});
    const auto many = train(test::world(), options, specification, torch::kFloat32);
    const auto one = train(*alone(), options, specification, torch::kFloat32);
    for (std::size_t i = 0; i < 10; ++i) {
      EXPECT_NEAR(many.losses[i], one.losses[i], 1e-3 * (1 + one.losses[i])) << kind << " " << i;
    }
  }
}

TEST(TrainerTest, RepeatedRunsAreBitIdentical) {
  const auto first = train(test::world(), small_run(), small_network(), torch::kFloat32);
  const auto second = train(test::world(), small_run(), small_network(), torch::kFloat32);
  EXPECT_TRUE(identical(first.model, second.model));
  auto other_seed = small_run();
  other_seed.batches.seed = 2;
  EXPECT_FALSE(identical(first.model,
                         train(test::world(), other_seed, small_network(), torch::kFloat32).model));
}

TEST(TrainerTest, BucketsChangeNoBitWhereSumsAreOrdered) {
  const bool ordered_anyway = test::world().size() <= 2;
  for (const bool deterministic : {true, false}) {
    auto options = small_run();
    options.reducer.deterministic = deterministic;
    const auto reference =
        train(test::world(), options, small_network("mlp:30,20"), torch::kFloat32);
    for (const std::int64_t bytes :
         {std::int64_t{1} << 10, std::numeric_limits<std::int64_t>::max()}) {
      options.reducer.first_bucket_bytes = options.reducer.bucket_bytes = bytes;
      const auto other = train(test::world(), options, small_network("mlp:30,20"), torch::kFloat32);
      if (deterministic || ordered_anyway) {
        EXPECT_TRUE(identical(other.model, reference.model)) << bytes;
      } else {
        // 20 steps of rounding to 6e-8.
        EXPECT_LE(difference(other.model, reference.model), 1e-6) << bytes;
      }
    }
  }
}

TEST(TrainerTest, PiecesOfABatchAddUpToIt) {
  auto options = small_run();
  const auto whole = train(test::world(), options, small_network("mlp:16"));
  for (const std::int64_t pieces : {1, 3, 100}) {
    options.micro_batch = pieces;
    EXPECT_LE(difference(train(test::world(), options, small_network("mlp:16")).model, whole.model),
              1e-12);
  }
}

TEST(TrainerTest, ShardedOptimiserIsTheSameOptimiser) {
  for (const auto kind : {OptimizerOptions::Kind::kSgd, OptimizerOptions::Kind::kAdam}) {
    auto options = small_run();
    options.optimizer.kind = kind;
    const auto whole = train(test::world(), options, small_network());
    options.optimizer.sharded = true;
    EXPECT_TRUE(identical(train(test::world(), options, small_network()).model, whole.model));
  }
}

TEST(TrainerTest, ClippingBoundsTheStep) {
  auto options = small_run();
  options.epochs = 1;
  options.optimizer.momentum = 0;
  options.clip_norm = 1e-3;
  const auto samples = test::three_textures(test::world());
  Network network(test::world(), small_network("mlp:16"), torch::kFloat64, 3);
  const auto before = test::copy_of(network);
  Trainer trainer(test::world(), network, samples, nullptr, options);
  std::vector<double> norms;
  TrainingEvents events;
  events.step = [&](const StepReport& step) { norms.push_back(step.gradient_norm); };
  trainer.run(events);
  EXPECT_GT(*std::ranges::max_element(norms), 0.1);  // what is reported is the norm before clipping
  double moved = 0;
  for (const auto& [name, tensor] : test::copy_of(network)) {
    moved += (tensor - before.at(name)).square().sum().item<double>();
  }
  EXPECT_LE(std::sqrt(moved), 5 * options.learning_rate.base * options.clip_norm * (1 + 1e-9));
  EXPECT_GT(moved, 0);
}

TEST(TrainerTest, PatienceEndsTheRunAndTheBestModelIsKept) {
  auto options = small_run();
  options.epochs = 50;
  options.patience = 3;
  options.learning_rate.base = 0;  // the first epoch stays the best
  const auto samples = test::three_textures(test::world());
  Network network(test::world(), small_network(), torch::kFloat64, 3);
  Trainer trainer(test::world(), network, samples, &samples, options);
  std::vector<TrainingEpoch> epochs;
  TrainingEvents events;
  events.epoch = [&](const TrainingEpoch& epoch) { epochs.push_back(epoch); };
  EXPECT_EQ(trainer.run(events), TrainingEnd::kPatience);
  const auto best = std::ranges::max_element(epochs, {}, &TrainingEpoch::validation_accuracy);
  EXPECT_EQ(trainer.best_epoch(), best->epoch);
  EXPECT_EQ(trainer.epochs_done(), best->epoch + 3);
  load_parameters(network, trainer.best_model(), "the best model");
  EXPECT_NEAR(trainer.evaluate(samples).accuracy, *best->validation_accuracy, 1e-12);
}

TEST(TrainerTest, LossThatIsNotFiniteNamesTheStepAndLeavesTheNetworkAlone) {
  auto options = small_run();
  auto samples = test::three_textures(test::world());
  const test::SharedDirectory directory;
  options.checkpoints = directory.path();
  // One bad pixel, in the last rank's block: every rank must hear of it.
  if (test::world().rank() == test::world().size() - 1) {
    samples.rows.view({-1})[-1] = std::numeric_limits<double>::quiet_NaN();
  }
  Network network(test::world(), small_network("mlp:16"), torch::kFloat64, 3);
  Trainer trainer(test::world(), network, samples, nullptr, options);
  try {
    trainer.run({});
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kNumerical);
    EXPECT_TRUE(error.agreed());
    EXPECT_THAT(error.what(), HasSubstr("the loss is not finite in step " +
                                        std::to_string(trainer.steps() + 1) + " (epoch 1)"));
  }
  for (const auto& parameter : network.parameters()) {
    EXPECT_TRUE(parameter.isfinite().all().item<bool>());
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(TrainerTest, ReductionsStartBeforeBackwardEnds) {
  if (test::world().size() == 1) {
    GTEST_SKIP() << "one rank reduces nothing";
  }
  auto options = small_run();
  options.epochs = 1;
  options.reducer.first_bucket_bytes = options.reducer.bucket_bytes = 1 << 10;
  start_trace();
  train(test::world(), options, small_network("mlp:200,200,200"));
  std::size_t inside = 0;
  std::size_t backwards = 0;
  for (const auto& backward : trace_events()) {
    if (backward.name != "backward") {
      continue;
    }
    ++backwards;
    inside += std::ranges::count_if(trace_events(), [&](const TraceEvent& event) {
      return event.name == "gradient bucket" && event.begin_us > backward.begin_us &&
             event.begin_us < backward.begin_us + backward.duration_us;
    });
  }
  EXPECT_EQ(backwards, 5U);
  // Eight parameters, of which those of the last two layers at least are ready before the end.
  EXPECT_GE(inside, 2 * backwards);
}

}  // namespace
}  // namespace eigenscale
