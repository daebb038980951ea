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
  for (const std::int64_t pieces : {1, 4, 100}) {
    options.micro_batch = pieces;
    EXPECT_LE(difference(train(test::world(), options, small_network("mlp:16")).model, whole.model),
              1e-12);
  }
  options.micro_batch = 3;  // of 20
  EXPECT_THROW(train(test::world(), options, small_network("mlp:16")), OptionError);
}

// What a normalisation layer sees is a piece of the global batch, not of a rank's.
TEST(TrainerTest, PiecesHaveTheSameStatisticsOnAnyNumberOfRanks) {
  auto options = small_run();
  const auto whole = train(*alone(), options, small_network());
  options.micro_batch = 5;
  const auto one = train(*alone(), options, small_network());
  const auto many = train(test::world(), options, small_network());
  EXPECT_GE(difference(one.model, whole.model), 1e-3);
  EXPECT_LE(difference(many.model, one.model), 1e-9);
}

// 44, 44 and 2 of 90 samples: from three ranks on some have none, in every layer.
TEST(TrainerTest, BatchesMayBeSmallerThanTheRanks) {
  auto options = small_run();
  options.batches.batch_size = 44;
  for (const nlohmann::json& layer :
       {nlohmann::json{{"kind", "batch"}}, nlohmann::json{{"kind", "pca-denoise"}},
        nlohmann::json{{"kind", "zca"}}, nlohmann::json(nullptr)}) {
    const auto specification = small_network("cnn:6,8", layer);
    const auto many = train(test::world(), options, specification);
    const auto one = train(*alone(), options, specification);
    EXPECT_LE(difference(many.model, one.model), 1e-9) << layer;
  }
}

TEST(TrainerTest, ALineOfMetricsIsTheMeanSinceTheLast) {
  auto options = small_run();
  options.batches.batch_size = 40;  // 40, 40, 10
  std::vector<StepReport> each;
  std::vector<StepReport> lines;
  for (auto* reports : {&each, &lines}) {
    options.log_every = reports == &each ? 1 : 4;
    const auto samples = test::three_textures(test::world());
    Network network(test::world(), small_network(), torch::kFloat64, 3);
    Trainer trainer(test::world(), network, samples, nullptr, options);
    TrainingEvents events;
    events.step = [&](const StepReport& step) { reports->push_back(step); };
    trainer.run(events);
  }
  ASSERT_EQ(each.size(), 12U);
  ASSERT_EQ(lines.size(), 3U);
  const auto samples_of = [](std::size_t step) { return step % 3 == 2 ? 10.0 : 40.0; };
  for (std::size_t line = 0; line < lines.size(); ++line) {
    double loss = 0;
    double error = 0;
    double samples = 0;
    for (std::size_t step = 4 * line; step < 4 * line + 4; ++step) {
      loss += each[step].loss * samples_of(step);
      error += each[step].error * samples_of(step);
      samples += samples_of(step);
    }
    EXPECT_EQ(lines[line].step, static_cast<std::int64_t>(4 * line + 4));
    EXPECT_NEAR(lines[line].loss, loss / samples, 1e-12);
    EXPECT_NEAR(lines[line].error, error / samples, 1e-12);
    EXPECT_EQ(lines[line].gradient_norm, each[4 * line + 3].gradient_norm);
    EXPECT_EQ(lines[line].learning_rate, each[4 * line + 3].learning_rate);
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

void expect_numerical(Trainer& trainer, const std::string& text) {
  try {
    trainer.run({});
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kNumerical);
    EXPECT_TRUE(error.agreed());
    EXPECT_THAT(error.what(), HasSubstr(text));
  }
}

// The loss is finite, and no line of metrics asks for the gradient.
TEST(TrainerTest, AGradientThatIsNotFiniteNeverReachesAWeight) {
  auto options = small_run();
  options.log_every = 1000;
  options.checkpoint_every = 1;
  const test::SharedDirectory directory;
  options.checkpoints = directory.path();
  const auto samples = test::three_textures(test::world());
  Network network(test::world(), small_network("mlp:16"), torch::kFloat64, 3);
  int passes = 0;
  if (test::world().rank() == 0) {
    network.parameters()[0].register_hook([&](torch::Tensor gradient) {
      return ++passes == 3 ? gradient * std::numeric_limits<double>::quiet_NaN() : gradient;
    });
  }
  Trainer trainer(test::world(), network, samples, nullptr, options);
  expect_numerical(trainer,
                   "the gradient's norm is not finite in step 3 (epoch 1); lower --learning-rate, "
                   "set --clip-norm or look at the scale of the data. The checkpoint of step 2 is "
                   "intact");
  for (const auto& parameter : network.parameters()) {
    EXPECT_TRUE(parameter.isfinite().all().item<bool>());
  }
  EXPECT_TRUE(std::filesystem::exists(directory.path() / "step-0000000002"));
  EXPECT_FALSE(std::filesystem::exists(directory.path() / "step-0000000003"));
}

// One step, whose gradient is finite, and none after it that would notice.
TEST(TrainerTest, AnUpdateThatOverflowsIsNoModel) {
  auto options = small_run();
  options.epochs = 1;
  options.batches.batch_size = 90;
  options.learning_rate.base = 1e30;
  const auto samples = test::three_textures(test::world());
  Network network(test::world(), small_network("mlp:16"), torch::kFloat32, 3);
  network.parameters()[0].register_hook([](torch::Tensor gradient) { return gradient * 1e20; });
  Trainer trainer(test::world(), network, samples, nullptr, options);
  expect_numerical(trainer, "the network is not finite in step 1 (epoch 1)");
}

// Penalties that act every 1000 steps, in a run that patience ends after 10.
TEST(TrainerTest, APendingThresholdActsWhenPatienceEndsTheRun) {
  auto options = small_run();
  options.epochs = 50;
  options.patience = 1;
  options.optimizer.momentum = 0;
  options.learning_rate.base = 1e-7;  // weights hardly move
  std::vector<double> norms;
  for (const double penalty : {0.0, 1e3}) {
    options.proximal.group_sparsity = penalty;
    options.proximal.every = 1000;
    const auto samples = test::three_textures(test::world());
    Network network(test::world(), small_network("mlp:16", nullptr), torch::kFloat64, 3);
    Trainer trainer(test::world(), network, samples, &samples, options);
    EXPECT_EQ(trainer.run({}), TrainingEnd::kPatience);
    EXPECT_EQ(trainer.steps(), 10);
    norms.push_back(network.parameters()[0].norm(2, {1}).detach().mean().item<double>());
  }
  // 10 steps of 1e-7 times 1e3 sqrt(65): a neuron has 64 weights and a bias, which is zero.
  EXPECT_NEAR(norms[0] - norms[1], 10 * 1e-7 * 1e3 * std::sqrt(65), 1e-4);
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
