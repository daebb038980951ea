#include "eigenscale/train/proximal_training.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include "eigenscale/core/errors.h"
#include "eigenscale/nn/network_specification.h"
#include "eigenscale/spectral/proximal.h"
#include "train/training_test_support.h"

namespace eigenscale {
namespace {

using test::alone;
using test::small_network;
using test::small_run;
using test::world;
using testing::HasSubstr;

/// A network, its optimiser, and proximal steps between.
struct Penalised {
  Penalised(const Communicator& communicator, const nlohmann::json& specification,
            const ProximalOptions& proximal, const OptimizerOptions& optimizer_options = sgd())
      : network(communicator, specification, torch::kFloat64, 3),
        optimizer(communicator, network.parameters(), optimizer_options),
        training(communicator, network, optimizer, proximal, specification) {}

  static OptimizerOptions sgd() {
    return {.kind = OptimizerOptions::Kind::kSgd, .adam = {}, .momentum = 0.9};
  }

  torch::Tensor parameter(const std::string& name) {
    return network.named_parameters()["layers." + name];
  }
  /// Weights and biases of a layer, one row for each neuron.
  torch::Tensor rows(const std::string& layer) {
    return torch::cat({parameter(layer + ".weight").detach().flatten(1),
                       parameter(layer + ".bias").detach().unsqueeze(1)},
                      1);
  }

  Network network;
  Optimizer optimizer;
  ProximalTraining training;
};

// Momentum 0.9 makes ten times the learning rate of a step size.
TEST(ProximalTrainingTest, TheThresholdIsThePenaltyTimesTheStepsSinceTheLast) {
  ProximalOptions options{.group_sparsity = 0.002, .sparse_mix = 0.25, .every = 2};
  Penalised p(world(), small_network("mlp:9,7", nullptr), options);
  const auto before = p.rows("linear1");
  const auto last = p.rows("linear3");
  p.training.after_step(0.1, false);
  EXPECT_TRUE(torch::equal(p.rows("linear1"), before));
  EXPECT_NEAR(p.training.pending(), 1, 1e-12);
  p.training.after_step(0.2, false);
  const double step = 3;
  const auto expected =
      sparse_group_threshold(before, step * 0.002 * 0.75 * std::sqrt(65.0), step * 0.002 * 0.25);
  EXPECT_TRUE(torch::allclose(p.rows("linear1"), expected, 0, 1e-14));
  EXPECT_FALSE(torch::equal(expected, before));
  EXPECT_TRUE(torch::equal(p.rows("linear3"), last));
  EXPECT_EQ(p.training.pending(), 0);
}

TEST(ProximalTrainingTest, LayersHaveTheirOwnPenalties) {
  ProximalOptions options{.group_sparsity = 0.001,
                          .group_sparsity_first = 0.003,
                          .group_sparsity_of = {{"linear*", 0.002}, {"linear4", 0.0}}};
  Penalised p(world(), small_network("mlp:9,8,7,6,5", nullptr), options);
  const auto before_4 = p.rows("linear4");
  const auto before_5 = p.rows("linear5");
  p.training.after_step(0.1, true);
  EXPECT_TRUE(torch::equal(p.rows("linear4"), before_4));
  EXPECT_TRUE(torch::allclose(p.rows("linear5"), group_threshold(before_5, 0.002 * std::sqrt(7.0)),
                              0, 1e-14));
  ProximalOptions first = options;
  first.group_sparsity_of = {};
  Penalised q(world(), small_network("mlp:9,8,7,6,5", nullptr), first);
  const auto third = q.rows("linear3");
  const auto fourth = q.rows("linear4");
  q.training.after_step(0.1, true);
  EXPECT_TRUE(
      torch::allclose(q.rows("linear3"), group_threshold(third, 0.003 * std::sqrt(9.0)), 0, 1e-14));
  EXPECT_TRUE(torch::allclose(q.rows("linear4"), group_threshold(fourth, 0.001 * std::sqrt(8.0)), 0,
                              1e-14));
}

TEST(ProximalTrainingTest, UnknownNamesAreRefused) {
  ProximalOptions options{.group_sparsity_of = {{"convolution7", 0.1}}};
  try {
    Penalised p(world(), small_network("mlp:9,7", nullptr), options);
    FAIL() << "accepted a pattern without a layer";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kOptions);
    EXPECT_THAT(error.what(), HasSubstr("convolution7"));
  }
}

nlohmann::json residual_network() {
  return complete_specification(nlohmann::json::parse(R"({"input": [1, 8, 8], "layers": [
    {"type": "convolution", "outputs": 6, "kernel": 3}, {"type": "normalization"},
    {"type": "residual", "shortcut": [], "body": [
      {"type": "convolution", "outputs": 6, "kernel": 3}, {"type": "normalization"}]},
    {"type": "average-pooling"}, {"type": "flatten"}, {"type": "linear", "outputs": 3}]})"),
                                "test");
}

// One group: nine weights of conv1, 54 of conv2, and scale and shift of both normalisations.
TEST(ProximalTrainingTest, NeuronsThatAreAddedLiveAndDieTogether) {
  ProximalOptions options{.group_sparsity = 0.01};
  Penalised p(world(), residual_network(), options);
  const std::vector<std::string> names = {"conv1.weight",           "residual1.conv2.weight",
                                          "norm1.weight",           "norm1.bias",
                                          "residual1.norm2.weight", "residual1.norm2.bias"};
  {
    const torch::NoGradGuard no_grad;
    for (const auto& name : names) {
      p.parameter(name)[2].mul_(1e-3);
      p.parameter(name)[4].mul_(name == names[0] ? 1e-3 : 1.0);
    }
  }
  p.training.after_step(0.1, true);
  for (const auto& name : names) {
    EXPECT_TRUE((p.parameter(name)[2] == 0).all().item<bool>()) << name;
  }
  EXPECT_FALSE((p.parameter("conv1.weight")[4] == 0).any().item<bool>());
  const auto layers = p.training.layers();
  ASSERT_EQ(layers.size(), 2U);
  EXPECT_EQ(layers[1].name, "residual1.conv2");
  EXPECT_EQ(layers[0].live, 5);
  EXPECT_EQ(layers[1].live, 5);
}

TEST(ProximalTrainingTest, OneNeuronStaysAndAWarningSaysSoOnce) {
  ProximalOptions options{.group_sparsity = 100};
  Penalised p(world(), small_network("mlp:9,7", nullptr), options);
  std::vector<std::string> warnings;
  p.training.warn = [&](const std::string& text) { warnings.push_back(text); };
  const auto strongest = p.rows("linear1").norm(2, {1}).argmax().item<std::int64_t>();
  p.training.after_step(0.1, true);
  p.training.after_step(0.1, true);
  for (const auto& layer : p.training.layers()) {
    EXPECT_EQ(layer.live, 1) << layer.name;
  }
  EXPECT_TRUE((p.rows("linear1")[strongest] != 0).any().item<bool>());
  ASSERT_EQ(warnings.size(), 2U);
  EXPECT_THAT(warnings[0], HasSubstr("would remove all 9 neurons of layer linear1"));
}

TEST(ProximalTrainingTest, ARankPenaltyThatWouldRemoveALayerWarnsAndLeavesIt) {
  ProximalOptions options{.nuclear_norm = 100};
  Penalised p(world(), small_network("mlp:9,7", nullptr), options);
  std::vector<std::string> warnings;
  p.training.warn = [&](const std::string& text) { warnings.push_back(text); };
  const auto before = p.rows("linear1");
  p.training.after_step(0.1, true);
  EXPECT_TRUE(torch::equal(p.rows("linear1"), before));
  ASSERT_EQ(warnings.size(), 2U);
  EXPECT_THAT(warnings[0], HasSubstr("would remove layer linear1"));
}

TEST(ProximalTrainingTest, DeadNeuronsHaveNoMomentumAndPenalisedWeightsNoDecay) {
  for (const bool sharded : {false, true}) {
    auto optimizer = Penalised::sgd();
    optimizer.weight_decay = 0.5;
    optimizer.sharded = sharded;
    ProximalOptions options{.group_sparsity = 0.02};
    Penalised p(world(), small_network("mlp:9,7", nullptr), options, optimizer);
    const torch::NoGradGuard no_grad;
    p.parameter("linear1.weight")[3].mul_(1e-6);
    for (const auto& moments : p.optimizer.moments()) {
      moments.fill_(1);
    }
    p.training.after_step(0.1, true);
    ASSERT_TRUE((p.parameter("linear1.weight")[3] == 0).all().item<bool>());
    // No gradient: momentum alone moves weights, and decay those without a penalty.
    const auto first = p.parameter("linear1.weight").clone();
    const auto last = p.parameter("linear3.weight").clone();
    p.optimizer.step(0.1);
    const auto moved = first - p.parameter("linear1.weight");
    EXPECT_TRUE((moved[3] == 0).all().item<bool>()) << sharded;
    EXPECT_TRUE(torch::allclose(moved[4], torch::full_like(moved[4], 0.09), 0, 1e-12)) << sharded;
    EXPECT_TRUE(
        torch::allclose(last - p.parameter("linear3.weight"), 0.1 * (0.9 + 0.5 * last), 0, 1e-12))
        << sharded;
  }
}

TEST(ProximalTrainingTest, RanksShrinkByTheNuclearNormOfEveryLayer) {
  ProximalOptions options{.nuclear_norm = 0.3};
  Penalised p(world(), small_network("mlp:20,12", nullptr), options);
  const auto before = p.parameter("linear2.weight").detach().clone();
  p.training.after_step(0.1, true);
  // He's weights of m x n: expected norm sqrt(2 / n) (sqrt(m) + sqrt(n)).
  const double tau = 0.3 * std::sqrt(2.0) * (1 + std::sqrt(12.0 / 20.0));
  const auto low = singular_value_threshold(before, tau);
  EXPECT_TRUE(torch::allclose(p.parameter("linear2.weight"), low.matrix, 0, 1e-13));
  EXPECT_LT(low.rank, 12);
  EXPECT_EQ(p.training.layers()[1].rank, low.rank);
}

TEST(ProximalTrainingTest, WeightsThatReadDeadNeuronsVanishInEitherOrderOfPenalties) {
  for (const bool exact : {false, true}) {
    ProximalOptions options{.group_sparsity = 1e-3, .nuclear_norm = 1e-3, .exact = exact};
    Penalised p(world(), small_network("mlp:9,7", nullptr), options);
    {
      const torch::NoGradGuard no_grad;
      p.parameter("linear1.weight")[3].mul_(1e-6);
    }
    p.training.after_step(0.1, true);
    ASSERT_TRUE((p.rows("linear1")[3] == 0).all().item<bool>()) << exact;
    EXPECT_TRUE((p.parameter("linear2.weight").select(1, 3) == 0).all().item<bool>()) << exact;
    EXPECT_TRUE(p.training.has_dead_neurons());
  }
}

TEST(ProximalTrainingTest, TheExactOperatorSparesLayersThatAPenaltyWouldRemove) {
  ProximalOptions options{.group_sparsity = 1e-4, .nuclear_norm = 100, .exact = true};
  Penalised p(world(), small_network("mlp:9,7", nullptr), options);
  std::vector<std::string> warnings;
  p.training.warn = [&](const std::string& text) { warnings.push_back(text); };
  const auto before = p.rows("linear1");
  p.training.after_step(0.1, true);
  EXPECT_TRUE(
      torch::allclose(p.rows("linear1"), group_threshold(before, 1e-4 * std::sqrt(65.0)), 0, 1e-6));
  ASSERT_EQ(warnings.size(), 2U);
  EXPECT_THAT(warnings[0], HasSubstr("would remove layer linear1"));
}

TEST(ProximalTrainingTest, WeightsThatAreNotFiniteEndTheRunOnAllRanks) {
  ProximalOptions options{.group_sparsity = 1e-4, .nuclear_norm = 1e-4};
  Penalised p(world(), small_network("mlp:9,7", nullptr), options);
  {
    const torch::NoGradGuard no_grad;
    p.parameter("linear2.weight")[0][0] = std::nan("");
  }
  try {
    p.training.after_step(0.1, true);
    FAIL() << "went on with a weight that is not a number";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kNumerical);
    EXPECT_TRUE(error.agreed());
    EXPECT_THAT(error.what(), HasSubstr("linear2"));
  }
}

TEST(ProximalTrainingTest, LargeMatricesAreDecomposedTogetherWithTheSameResult) {
  if (!ProcessGrid::supports(world().size())) {
    GTEST_SKIP() << "this build multiplies on one rank only";
  }
  ProximalOptions options{.group_sparsity = 0.001, .nuclear_norm = 0.2};
  Penalised local(world(), small_network("mlp:40,24", nullptr), options);
  options.distributed_from = 16;
  Penalised together(world(), small_network("mlp:40,24", nullptr), options);
  local.training.after_step(0.1, true);
  together.training.after_step(0.1, true);
  for (const std::string layer : {"linear1", "linear2"}) {
    EXPECT_TRUE(torch::allclose(local.rows(layer), together.rows(layer), 0, 1e-10)) << layer;
  }
  EXPECT_EQ(local.training.layers()[0].rank, together.training.layers()[0].rank);
}

std::vector<std::int64_t> sizes(const std::vector<LayerSize>& layers) {
  std::vector<std::int64_t> result;
  for (const auto& layer : layers) {
    result.push_back(layer.live);
    result.push_back(layer.rank.value_or(-1));
  }
  return result;
}

struct Outcome {
  std::vector<std::int64_t> sizes;
  NamedTensors model;
};

Outcome train_with(const Communicator& communicator, const ProximalOptions& proximal) {
  auto options = small_run();
  options.epochs = 12;
  options.proximal = proximal;
  const auto samples = test::three_textures(communicator);
  Network network(communicator, small_network("cnn:6,12"), torch::kFloat64, 3);
  Trainer trainer(communicator, network, samples, &samples, options);
  Outcome outcome;
  TrainingEvents events;
  events.epoch = [&](const TrainingEpoch& epoch) { outcome.sizes = sizes(epoch.layers); };
  trainer.run(events);
  outcome.model = trainer.best_model();
  return outcome;
}

// Sums in another order: 60 steps blow 1e-16 up by less than 1e6, as without penalties.
TEST(ProximalTrainingTest, SurvivorsDoNotDependOnTheNumberOfRanks) {
  const std::vector<ProximalOptions> settings = {
      {.group_sparsity = 1e-2, .every = 1},
      {.group_sparsity = 1e-2, .sparse_mix = 0.3},
      {.group_sparsity = 8e-3, .nuclear_norm = 1e-2},
      {.group_sparsity = 8e-3, .nuclear_norm = 1e-2, .exact = true},
  };
  for (std::size_t i = 0; i < settings.size(); ++i) {
    const auto many = train_with(world(), settings[i]);
    const auto one = train_with(*alone(), settings[i]);
    EXPECT_EQ(many.sizes, one.sizes) << i;
    EXPECT_LE(test::difference(many.model, one.model), 1e-9) << i;
    EXPECT_LT(one.sizes[2], 12) << i;
    EXPECT_GE(one.sizes[2], 1) << i;
  }
}

TEST(ProximalTrainingTest, AResumedRunIsBitIdentical) {
  const test::SharedDirectory directory;
  auto options = small_run();
  options.proximal = {.group_sparsity = 2e-3, .nuclear_norm = 1e-2};
  options.checkpoints = directory.path();
  options.checkpoint_every = 7;  // in the middle of the second epoch, with thresholds pending
  options.keep = 10;
  const auto samples = test::three_textures(world());
  const auto run = [&](bool resume) {
    Network network(world(), small_network("cnn:6,12"), torch::kFloat32, 3);
    Trainer trainer(world(), network, samples, &samples, options);
    if (resume) {
      trainer.restore(directory.path() / "step-0000000007");
    }
    trainer.run({});
    return trainer.best_model();
  };
  const auto whole = run(false);
  world().barrier();
  options.checkpoint_every = 1000;
  EXPECT_TRUE(test::identical(run(true), whole));
}

// A run that ends where it would have shrunk, and goes on for more epochs, shrinks first.
TEST(ProximalTrainingTest, ShrinkingWhereARunWasStoppedIsTheSameRun) {
  const test::SharedDirectory directory;
  const auto samples = test::three_textures(world());
  const auto initial = small_network("mlp:20,12", nullptr);
  auto options = small_run();
  options.proximal = {.group_sparsity = 0.03};
  options.shrink_every = 2;
  options.initial_specification = initial;
  const auto run = [&](std::int64_t epochs, bool resume) {
    options.epochs = epochs;
    auto network = std::make_unique<Network>(world(), initial, torch::kFloat32, 3);
    auto trainer = std::make_unique<Trainer>(world(), *network, samples, &samples, options);
    if (resume) {
      trainer->restore(directory.path() / "step-0000000020");
    }
    std::vector<std::int64_t> shrunk_at;
    while (trainer->run({}) == TrainingEnd::kShrink) {
      shrunk_at.push_back(trainer->epochs_done());
      const auto shrunk = trainer->shrink();
      trainer.reset();
      network = std::make_unique<Network>(world(), shrunk.model.specification, torch::kFloat32, 3);
      trainer = std::make_unique<Trainer>(world(), *network, samples, &samples, options);
      trainer->adopt(shrunk);
    }
    return std::pair(trainer->best_model(), shrunk_at);
  };
  const auto [whole, shrunk_at] = run(8, false);
  ASSERT_FALSE(shrunk_at.empty());
  ASSERT_EQ(shrunk_at.front(), 4);
  EXPECT_LT(whole.at("layers.linear1.weight").size(0), 20);
  options.checkpoints = directory.path();
  run(4, false);
  world().barrier();
  const auto [resumed, again_at] = run(8, true);
  EXPECT_EQ(again_at, shrunk_at);
  EXPECT_TRUE(test::identical(resumed, whole));
}

}  // namespace
}  // namespace eigenscale
