#include "eigenscale/train/optimizer.h"

#include <functional>

#include "support/mpi_test.h"

namespace eigenscale {
namespace {

TEST(OptimizerTest, AdamFollowsTorchWithinTheEpsilonsPlacement) {
  torch::manual_seed(3);
  auto ours = torch::randn({7, 5}, torch::kFloat64).requires_grad_();
  auto theirs = ours.detach().clone().requires_grad_();
  const AdamOptions options{.learning_rate = 1e-2, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8};
  Optimizer adam(test::world(), {ours}, {.adam = options});
  torch::optim::Adam reference({theirs},
                               torch::optim::AdamOptions(1e-2).betas({0.9, 0.99}).eps(1e-8));
  constexpr int kSteps = 20;
  for (int step = 1; step <= kSteps; ++step) {
    // Gradients of at least 1 in size: sqrt(v / (1 - b2^t)) >= 1.
    const auto noise = torch::randn({7, 5}, torch::kFloat64);
    const auto gradient = noise + noise.sign();
    ours.mutable_grad() = gradient.clone();
    theirs.mutable_grad() = gradient.clone();
    adam.step();
    reference.step();
  }
  // Relative difference of one update: epsilon / sqrt(v) <= 1e-8 / sqrt(1 - 0.99) = 1e-7 at step 1;
  // an update is at most a few learning rates.
  const double bound = kSteps * 1e-7 * 3 * options.learning_rate;
  EXPECT_LE((ours - theirs).abs().max().item<double>(), bound);
  EXPECT_GT((ours - theirs).abs().max().item<double>(), 0);
}

/// Runs both optimisers from the same weights on the same gradients; the largest difference.
double difference_after_steps(
    const OptimizerOptions& options, double learning_rate,
    const std::function<std::unique_ptr<torch::optim::Optimizer>(std::vector<torch::Tensor>)>&
        make_reference) {
  torch::manual_seed(5);
  std::vector<torch::Tensor> ours;
  std::vector<torch::Tensor> theirs;
  for (const auto& shape : std::vector<std::vector<std::int64_t>>{{5, 3}, {2, 3, 2, 2}, {4, 1}}) {
    ours.push_back(torch::randn(shape, torch::kFloat64).requires_grad_());
    theirs.push_back(ours.back().detach().clone().requires_grad_());
  }
  Optimizer optimizer(test::world(), ours, options);
  const auto reference = make_reference(theirs);
  for (int step = 0; step < 10; ++step) {
    for (std::size_t i = 0; i < ours.size(); ++i) {
      const auto noise = torch::randn_like(ours[i].detach());
      ours[i].mutable_grad() = noise + noise.sign();
      theirs[i].mutable_grad() = ours[i].grad().clone();
    }
    optimizer.step(learning_rate);
    reference->step();
  }
  double difference = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    difference = std::max(difference, (ours[i] - theirs[i]).abs().max().item<double>());
  }
  return difference;
}

OptimizerOptions sgd(double momentum, bool nesterov, double decay) {
  return {.kind = OptimizerOptions::Kind::kSgd,
          .momentum = momentum,
          .nesterov = nesterov,
          .weight_decay = decay};
}

// Ten steps of the same formula: a few roundings each of numbers of size ten.
constexpr double kRoundings = 1e-13;

TEST(OptimizerTest, SgdIsTorchs) {
  for (const auto& [momentum, nesterov, decay] :
       {std::tuple(0.0, false, 0.0), std::tuple(0.9, false, 0.0), std::tuple(0.9, true, 0.0),
        std::tuple(0.8, true, 0.1), std::tuple(0.0, false, 0.1)}) {
    const double difference =
        difference_after_steps(sgd(momentum, nesterov, decay), 0.05, [&](auto parameters) {
          return std::make_unique<torch::optim::SGD>(
              parameters,
              torch::optim::SGDOptions(0.05).momentum(momentum).nesterov(nesterov).weight_decay(
                  decay));
        });
    EXPECT_LE(difference, kRoundings) << momentum << nesterov << decay;
  }
}

TEST(OptimizerTest, AdamDecaysWeightsAsTorchsAdamW) {
  const OptimizerOptions options{.weight_decay = 0.1};
  const double difference = difference_after_steps(options, 0.01, [](auto parameters) {
    return std::make_unique<torch::optim::AdamW>(
        parameters, torch::optim::AdamWOptions(0.01).weight_decay(0.1).eps(1e-8));
  });
  // The epsilon's placement: as above, 10 steps of 3 x 0.01 x 1e-8 / sqrt(1 - 0.999).
  EXPECT_LE(difference, 10 * 0.03 * 3.2e-7);
}

TEST(OptimizerTest, BiasesDoNotDecay) {
  auto bias = torch::ones({3}).requires_grad_();
  Optimizer optimizer(test::world(), {bias}, sgd(0.9, false, 0.5));
  optimizer.step(0.1);
  EXPECT_TRUE(torch::equal(bias.detach(), torch::ones({3})));
}

TEST(OptimizerTest, ShardsMomentsAndChangesNothing) {
  const auto train = [](bool sharded, OptimizerOptions options) {
    torch::manual_seed(7);
    std::vector<torch::Tensor> parameters = {torch::randn({7, 3}).requires_grad_(),
                                             torch::randn({11}).requires_grad_()};
    options.sharded = sharded;
    Optimizer optimizer(test::world(), parameters, options);
    for (int step = 0; step < 5; ++step) {
      for (auto& parameter : parameters) {
        parameter.mutable_grad() = torch::randn_like(parameter.detach());
      }
      optimizer.step(0.1);
    }
    EXPECT_EQ(optimizer.moments()[0].numel(), optimizer.owned().size());
    return torch::cat({parameters[0].detach().flatten(), parameters[1].detach()});
  };
  for (const auto& options : {OptimizerOptions{}, sgd(0.9, true, 0.1)}) {
    const auto whole = train(false, options);
    const auto sharded = train(true, options);
    // Elementwise arithmetic, but vector and scalar lanes may contract differently.
    EXPECT_LE((whole - sharded).abs().max().item<double>(), 1e-6);
  }
}

TEST(OptimizerTest, SharedParametersMoveOnce) {
  auto parameter = torch::ones({2}).requires_grad_();
  auto frozen = torch::ones({2});
  Optimizer optimizer(test::world(), {parameter, frozen, parameter}, sgd(0, false, 0));
  EXPECT_EQ(optimizer.values(), 2);
  parameter.mutable_grad() = torch::ones({2});
  optimizer.step(0.25);
  EXPECT_EQ(parameter[0].item<float>(), 0.75F);
}

}  // namespace
}  // namespace eigenscale
