#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/nn/batch_normalization.h"
#include "eigenscale/nn/pca_denoising.h"
#include "eigenscale/nn/zca_whitening.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::world;

using Layer = std::shared_ptr<Normalization>;
using Maker = std::function<Layer(const Communicator&, NormalizationOptions)>;

template <typename L>
Maker maker() {
  return [](const Communicator& communicator, const NormalizationOptions& options) {
    auto layer = std::make_shared<L>(communicator, options);
    layer->to(torch::kFloat64);
    return layer;
  };
}

struct Case {
  std::string name;
  Maker make;
  NormalizationOptions options;
};

std::vector<Case> cases() {
  const GradientRuleOptions taylor = {GradientRule::kTaylor, 10};
  return {
      {"batch", maker<BatchNormalization>(), {.channels = 6}},
      {"zca", maker<ZcaWhitening>(), {.channels = 6}},
      {"zca in groups", maker<ZcaWhitening>(), {.channels = 6, .groups = 3}},
      {"zca, relative epsilon", maker<ZcaWhitening>(), {.channels = 6, .relative_epsilon = true}},
      {"zca, truncated", maker<ZcaWhitening>(), {.channels = 6, .components = 4}},
      {"zca, taylor", maker<ZcaWhitening>(), {.channels = 6, .rule = taylor}},
      // Distributed on more than one rank; one rank is the reference.
      {"zca, distributed", maker<ZcaWhitening>(), {.channels = 6, .distributed_from = 2}},
      {"pca", maker<PcaDenoising>(), {.channels = 6, .components = 3}},
      {"pca, energy", maker<PcaDenoising>(), {.channels = 6, .energy = 0.8}},
  };
}

TEST(NormalizationTest, StatisticsOfChannelsHaveOneShape) {
  for (const auto& test : cases()) {
    const auto layer = test.make(test::world(), test.options);
    for (const auto& buffer : layer->named_buffers()) {
      if (buffer.key() == "running_mean" || buffer.key() == "running_variance") {
        EXPECT_EQ(buffer.value().sizes(), (std::vector<std::int64_t>{6})) << test.name;
      }
    }
  }
}

/// Channels of clearly different variance that are correlated.
torch::Tensor correlated_images(std::int64_t n) {
  torch::manual_seed(3);
  const auto mixing = torch::randn({6, 6}, torch::kFloat64) +
                      torch::diag(torch::tensor({9.0, 7.0, 5.0, 3.0, 2.0, 1.0}, torch::kFloat64));
  const auto samples = torch::randn({n, 3, 2, 6}, torch::kFloat64);
  return (samples.matmul(mixing) + 5).permute({0, 3, 1, 2}).contiguous();
}

torch::Tensor own(const torch::Tensor& all) {
  const auto range = RowPartition(all.size(0), world().size()).range(world().rank());
  return all.narrow(0, range.begin, range.size()).contiguous();
}

torch::Tensor covariance_of(const torch::Tensor& output) {
  const auto columns = output.dim() == 2 ? output.t() : output.transpose(0, 1).flatten(1);
  const auto centred = columns - columns.mean(1, true);
  return centred.matmul(centred.t()) / static_cast<double>(columns.size(1));
}

double largest(const torch::Tensor& values) {
  return values.numel() > 0 ? values.abs().max().item<double>() : 0;
}

TEST(ZcaWhiteningTest, OutputsAreWhite) {
  const auto alone = world().split(world().rank(), 0);
  const auto input = correlated_images(40);
  ZcaWhitening layer(*alone, {.channels = 6, .epsilon = 0, .affine = false});
  for (const auto& batch : {input, input.flatten(2).mean(2).contiguous()}) {
    const auto output = layer.forward(batch);
    EXPECT_EQ(output.sizes(), batch.sizes());
    EXPECT_LE(largest(covariance_of(output) - torch::eye(6, torch::kFloat64)), 1e-10);
  }
  // Groups are white within, not across.
  ZcaWhitening grouped(*alone, {.channels = 6, .groups = 2, .epsilon = 0, .affine = false});
  const auto covariance = covariance_of(grouped.forward(input));
  const auto block = torch::eye(3, torch::kFloat64);
  EXPECT_LE(largest(covariance.narrow(0, 0, 3).narrow(1, 0, 3) - block), 1e-10);
  EXPECT_GE(largest(covariance.narrow(0, 0, 3).narrow(1, 3, 3)), 1e-3);
}

TEST(NormalizationTest, LargeMeansLoseNoDigits) {
  const auto alone = world().split(world().rank(), 0);
  const auto input = correlated_images(40);
  for (const auto& test : cases()) {
    const auto near = test.make(*alone, test.options)->forward(input);
    const auto far = test.make(*alone, test.options)->forward(input + 1e6);
    // 2^-52 1e6 in the input, times the largest slope of the layers, epsilon^(-1/2) = 100.
    EXPECT_LE(largest(near - far), 1e-6) << test.name;
  }
}

// One rank with the joined batch against all ranks with their parts, ragged and with empty ranks.
TEST(NormalizationTest, RanksDoNotChangeValuesOrGradients) {
  const auto alone = world().split(world().rank(), 0);
  for (const std::int64_t samples : {2, 9, 16}) {
    const auto input = correlated_images(samples);
    torch::manual_seed(4);
    const auto weights = torch::randn_like(input);
    for (const auto& test : cases()) {
      auto whole = input.clone().requires_grad_(true);
      const auto reference = test.make(*alone, test.options);
      const auto expected = reference->forward(whole);
      (expected * weights).sum().backward();

      auto part = own(input).requires_grad_(true);
      const auto layer = test.make(world(), test.options);
      const auto output = layer->forward(part);
      (output * own(weights)).sum().backward();
      EXPECT_EQ(layer->kept(), reference->kept()) << test.name;
      EXPECT_LE(largest(output - own(expected)), 1e-10) << test.name;
      EXPECT_LE(largest(part.grad() - own(whole.grad())), 1e-9 * (1 + largest(whole.grad())))
          << test.name;
      for (const auto& buffer : reference->named_buffers()) {
        if (test.name == "zca, distributed" && buffer.key() == "running_matrix") {
          continue;  // the rank's block alone; evaluation below shows that it is right
        }
        EXPECT_LE(largest(layer->named_buffers()[buffer.key()] - buffer.value()), 1e-10)
            << test.name << buffer.key();
      }
      // Parameter gradients are the ranks' own; their sum is that of the joined batch.
      for (const auto& parameter : reference->named_parameters()) {
        auto sum = layer->named_parameters()[parameter.key()].grad().clone();
        world().all_reduce(sum);
        EXPECT_LE(largest(sum - parameter.value().grad()), 1e-9) << test.name;
      }
    }
  }
}

TEST(NormalizationTest, GradientIsACentralDifference) {
  const auto alone = world().split(world().rank(), 0);
  const auto input = correlated_images(6);
  torch::manual_seed(5);
  const auto weights = torch::randn_like(input);
  const auto direction = torch::randn_like(input);
  for (const auto& test : cases()) {
    if (test.options.rule) {
      continue;  // an approximation on purpose
    }
    const auto at = [&](double step) {
      const auto output = test.make(*alone, test.options)->forward(input + step * direction);
      return (output * weights).sum().item<double>();
    };
    auto leaf = input.clone().requires_grad_(true);
    (test.make(*alone, test.options)->forward(leaf) * weights).sum().backward();
    const double h = 1e-4;
    const double difference = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
    const double scale = leaf.grad().norm().item<double>() * direction.norm().item<double>();
    EXPECT_NEAR(difference, (leaf.grad() * direction).sum().item<double>(), 1e-7 * scale)
        << test.name;
  }
}

TEST(NormalizationTest, EvaluationUsesRunningStatistics) {
  const auto alone = world().split(world().rank(), 0);
  const auto input = correlated_images(50);
  for (auto& test : cases()) {
    test.options.momentum = 1;  // the last batch alone
    const auto layer = test.make(*alone, test.options);
    const auto trained = layer->forward(input);
    layer->eval();
    const auto evaluated = layer->forward(input);
    // The running variance of batch normalisation is unbiased: 300 / 299 times the batch's, which
    // divides its outputs by the root of that.
    const auto expected = test.name == "batch" ? trained / std::sqrt(300.0 / 299) : trained;
    EXPECT_LE(largest(expected - evaluated), test.name == "batch" ? 1e-5 : 1e-9) << test.name;
    EXPECT_TRUE(evaluated.equal(layer->forward(input))) << test.name;
  }
}

TEST(ZcaWhiteningTest, DistributedEvaluationEqualsLocal) {
  const auto alone = world().split(world().rank(), 0);
  const auto input = correlated_images(17);
  ZcaWhitening local(*alone, {.channels = 6});
  ZcaWhitening distributed(world(), {.channels = 6, .distributed_from = 1});
  for (const double scale : {1.0, 2.0}) {
    local.forward(scale * input);
    distributed.forward(scale * own(input));
  }
  local.eval();
  distributed.eval();
  EXPECT_LE(largest(distributed.forward(own(input)) - own(local.forward(input))), 1e-10);
}

TEST(ZcaWhiteningTest, RunningMatrixAsTheAuthorsIsNotTheRunningCovariance) {
  const auto alone = world().split(world().rank(), 0);
  const auto input = correlated_images(50);
  std::vector<torch::Tensor> outputs;
  for (const auto running : {RunningAverage::kCovariance, RunningAverage::kWhiteningMatrix}) {
    ZcaWhitening layer(*alone, {.channels = 6, .running = running});
    layer.forward(input);
    layer.forward(2 * input);
    layer.eval();
    outputs.push_back(layer.forward(input));
  }
  EXPECT_GT(largest(outputs[0] - outputs[1]), 1e-3);
}

TEST(NormalizationTest, KeepsAtLeastOneAndNeverCutsEqualEigenvalues) {
  const auto alone = world().split(world().rank(), 0);
  const auto input = correlated_images(40);
  PcaDenoising greedy(*alone, {.channels = 6, .energy = 1e-9});
  greedy.forward(input);
  EXPECT_EQ(greedy.kept(), 1);
  // Uncorrelated channels: all eigenvalues of the correlation are 1.
  const auto white = torch::cat({torch::eye(6, torch::kFloat64), -torch::eye(6, torch::kFloat64)});
  PcaDenoising equal(*alone, {.channels = 6, .epsilon = 0, .energy = 0.5});
  const auto vectors = std::get<0>(torch::linalg_qr(torch::randn({6, 6}, torch::kFloat64)));
  ZcaWhitening zca(*alone, {.channels = 6, .energy = 0.5});
  zca.forward(white.matmul(vectors));
  EXPECT_EQ(zca.kept(), 6);
}

TEST(NormalizationTest, RepeatedEigenvaluesTrain) {
  const auto alone = world().split(world().rank(), 0);
  auto input = torch::cat({torch::eye(6, torch::kFloat64), -torch::eye(6, torch::kFloat64)})
                   .requires_grad_(true);
  ZcaWhitening layer(*alone, {.channels = 6});
  (layer.forward(input) * torch::randn_like(input)).sum().backward();
  EXPECT_TRUE(input.grad().isfinite().all().item<bool>());
}

// Run under tests/apps/memory_test.py, which counts the largest allocation of each rank.
TEST(LargeWhiteningTest, TrainsAStep) {
  const char* given = std::getenv("EIGENSCALE_TEST_CHANNELS");
  const std::int64_t channels = given != nullptr ? std::atoll(given) : 1100;
  torch::manual_seed(7 + world().rank());
  ZcaWhitening layer(world(), {.channels = channels});
  const auto input = torch::randn({48, channels}).requires_grad_(true);
  const auto output = layer.forward(input);
  output.square().sum().backward();
  EXPECT_TRUE(output.isfinite().all().item<bool>());
  EXPECT_TRUE(input.grad().isfinite().all().item<bool>());
  EXPECT_GT(largest(layer.named_parameters()["weight"].grad()), 0);
}

TEST(NormalizationTest, RefusesWhatItCannotDo) {
  EXPECT_THROW(ZcaWhitening(world(), {.channels = 6, .groups = 4}), OptionError);
  EXPECT_THROW(ZcaWhitening(world(), {.channels = 6, .energy = 0}), OptionError);
  EXPECT_THROW(PcaDenoising(world(), {.channels = 6, .components = 7}), OptionError);
  ZcaWhitening layer(world(), {.channels = 6});
  EXPECT_THROW(layer.forward(torch::zeros({3, 5})), InputError);
  EXPECT_THROW(layer.forward(torch::zeros({0, 6})), Error);
}

}  // namespace
}  // namespace eigenscale
