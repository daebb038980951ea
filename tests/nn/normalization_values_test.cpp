#include <functional>
#include <memory>

#include "eigenscale/core/row_partition.h"
#include "eigenscale/nn/batch_normalization.h"
#include "eigenscale/nn/network.h"
#include "eigenscale/nn/network_specification.h"
#include "eigenscale/nn/pca_denoising.h"
#include "eigenscale/nn/zca_whitening.h"
#include "support/mpi_test.h"

// Outputs and running statistics against formulas written out anew, on the joined batch.

namespace eigenscale {
namespace {

using test::world;

constexpr double kEpsilon = 1e-2;  // large enough to show
constexpr double kMomentum = 0.3;
constexpr double kRounding = 1e-12;

torch::Tensor mixed_rows(std::int64_t n, double scale) {
  torch::manual_seed(static_cast<std::uint64_t>(n));
  const auto mixing = torch::randn({6, 6}, torch::kFloat64);
  return scale * torch::randn({n, 6}, torch::kFloat64).matmul(mixing) + 2;
}

torch::Tensor part_of(const torch::Tensor& all) {
  const auto range = RowPartition(all.size(0), world().size()).range(world().rank());
  return all.narrow(0, range.begin, range.size()).contiguous();
}

double magnitude(const torch::Tensor& values) {
  return values.numel() > 0 ? values.abs().max().item<double>() : 0;
}

/// n x C standardised by given statistics, with scale and shift.
struct Affine {
  torch::Tensor scale;
  torch::Tensor shift;
  torch::Tensor of(const torch::Tensor& rows) const { return rows * scale + shift; }
};

Affine set_affine(Normalization& layer) {
  layer.to(torch::kFloat64);
  const auto scale = torch::linspace(0.5, 2, 6, torch::kFloat64);
  const auto shift = torch::linspace(-1, 3, 6, torch::kFloat64);
  const torch::NoGradGuard no_grad;
  layer.named_parameters()["weight"].copy_(scale);
  layer.named_parameters()["bias"].copy_(shift);
  return {scale, shift};
}

/// Sample mean and covariance divided by n.
struct Statistics {
  explicit Statistics(const torch::Tensor& rows)
      : n(static_cast<double>(rows.size(0))),
        mean(rows.sum(0) / n),
        covariance((rows - mean).t().matmul(rows - mean) / n) {}
  double n;
  torch::Tensor mean;
  torch::Tensor covariance;
};

torch::Tensor average(const torch::Tensor& before, const torch::Tensor& newest) {
  return (1 - kMomentum) * before + kMomentum * newest;
}

TEST(NormalizationValuesTest, BatchNormalization) {
  BatchNormalization layer(world(), {.channels = 6, .epsilon = kEpsilon, .momentum = kMomentum});
  const auto affine = set_affine(layer);
  auto mean = torch::zeros({6}, torch::kFloat64);
  auto variance = torch::ones({6}, torch::kFloat64);
  for (const double scale : {1.0, 3.0}) {
    const auto rows = mixed_rows(11, scale);
    const Statistics batch(rows);
    const auto biased = batch.covariance.diagonal();
    const auto expected = affine.of((rows - batch.mean) / (biased + kEpsilon).sqrt());
    EXPECT_LE(magnitude(layer.forward(part_of(rows)) - part_of(expected)), kRounding);
    mean = average(mean, batch.mean);
    variance = average(variance, biased * batch.n / (batch.n - 1));
    EXPECT_LE(magnitude(layer.named_buffers()["running_mean"] - mean), kRounding);
    EXPECT_LE(magnitude(layer.named_buffers()["running_variance"] - variance), kRounding * 100);
  }
  layer.eval();
  const auto rows = mixed_rows(7, 1);
  const auto expected = affine.of((rows - mean) / (variance + kEpsilon).sqrt());
  EXPECT_LE(magnitude(layer.forward(part_of(rows)) - part_of(expected)), kRounding);
}

/// (S + e I)^(-1/2) on the `kept` leading eigenvectors, by torch's own solver.
torch::Tensor inverse_root(const torch::Tensor& covariance, double epsilon, std::int64_t kept) {
  const auto [values, vectors] = torch::linalg_eigh(covariance);
  const auto leading = vectors.narrow(1, 6 - kept, kept);
  return (leading / (values.narrow(0, 6 - kept, kept) + epsilon).sqrt()).matmul(leading.t());
}

TEST(NormalizationValuesTest, ZcaWhitening) {
  for (const std::int64_t kept : {6, 4}) {
    for (const bool relative : {false, true}) {
      ZcaWhitening layer(world(), {.channels = 6,
                                   .epsilon = kEpsilon,
                                   .relative_epsilon = relative,
                                   .momentum = kMomentum,
                                   .components = kept == 6 ? 0 : kept});
      const auto affine = set_affine(layer);
      const auto root = [&](const torch::Tensor& covariance) {
        const double mean_variance = covariance.trace().item<double>() / 6;
        return inverse_root(covariance, kEpsilon * (relative ? mean_variance : 1), kept);
      };
      auto mean = torch::zeros({6}, torch::kFloat64);
      auto covariance = torch::eye(6, torch::kFloat64);
      for (const double scale : {1.0, 3.0}) {
        const auto rows = mixed_rows(11, scale);
        const Statistics batch(rows);
        const auto expected = affine.of((rows - batch.mean).matmul(root(batch.covariance)));
        EXPECT_LE(magnitude(layer.forward(part_of(rows)) - part_of(expected)), kRounding * 100);
        mean = average(mean, batch.mean);
        covariance = average(covariance, batch.covariance);
        EXPECT_LE(magnitude(layer.named_buffers()["running_mean"] - mean), kRounding);
        EXPECT_LE(magnitude(layer.named_buffers()["running_matrix"][0] - covariance),
                  kRounding * 1000);
      }
      layer.eval();
      const auto rows = mixed_rows(7, 1);
      const auto expected = affine.of((rows - mean.t()).matmul(root(covariance)));
      for (int time = 0; time < 2; ++time) {  // the second finds the decomposition of the first
        EXPECT_LE(magnitude(layer.forward(part_of(rows)) - part_of(expected)), kRounding * 100);
      }
      // Other statistics are noticed, whoever changed them.
      layer.named_buffers()["running_matrix"].mul_(2);
      const auto changed = affine.of((rows - mean.t()).matmul(root(2 * covariance)));
      EXPECT_LE(magnitude(layer.forward(part_of(rows)) - part_of(changed)), kRounding * 100);
    }
  }
}

TEST(NormalizationValuesTest, PcaDenoising) {
  PcaDenoising layer(world(),
                     {.channels = 6, .epsilon = kEpsilon, .momentum = kMomentum, .components = 2});
  const auto affine = set_affine(layer);
  auto mean = torch::zeros({6}, torch::kFloat64);
  auto variance = torch::ones({6}, torch::kFloat64);
  auto projector = torch::eye(6, torch::kFloat64);
  for (const double scale : {1.0, 3.0}) {
    const auto rows = mixed_rows(11, scale);
    const Statistics batch(rows);
    const auto deviation = (batch.covariance.diagonal() + kEpsilon).sqrt();
    const auto correlation = batch.covariance / deviation / deviation.unsqueeze(1);
    // The two last: torch's eigenvalues ascend.
    const auto leading = std::get<1>(torch::linalg_eigh(correlation)).narrow(1, 4, 2);
    const auto projection = leading.matmul(leading.t());
    const auto expected = affine.of(((rows - batch.mean) / deviation).matmul(projection));
    EXPECT_LE(magnitude(layer.forward(part_of(rows)) - part_of(expected)), kRounding * 10);
    mean = average(mean, batch.mean);
    variance = average(variance, batch.covariance.diagonal());
    projector = average(projector, projection);
    EXPECT_LE(magnitude(layer.named_buffers()["running_mean"] - mean), kRounding);
    EXPECT_LE(magnitude(layer.named_buffers()["running_variance"] - variance), kRounding * 100);
    EXPECT_LE(magnitude(layer.named_buffers()["running_projector"][0] - projector), kRounding * 10);
  }
  layer.eval();
  const auto rows = mixed_rows(7, 1);
  const auto standard = (rows - mean.t()) / (variance.t() + kEpsilon).sqrt();
  EXPECT_LE(
      magnitude(layer.forward(part_of(rows)) - part_of(affine.of(standard.matmul(projector)))),
      kRounding * 10);
}

// A stem that makes 32 channels of 9 on bytes that nobody scaled: 23 eigenvalues are zero, and
// rounding of single precision would be hundreds of epsilons.
// Sums over 150,000 samples in single precision would be off by some 1e-5 of a variance, and about
// a mean of 1000 in single precision by more.
TEST(NormalizationValuesTest, PcaDenoisingSumsInDouble) {
  const std::int64_t samples = 150000;
  const auto rows = (mixed_rows(samples, 1) + 1000).to(torch::kFloat32);
  const Statistics expected(rows.to(torch::kFloat64));
  PcaDenoising layer(world(), {.channels = 6, .momentum = 1, .affine = false, .components = 4});
  layer.train();
  const auto input = part_of(rows).requires_grad_(true);
  const auto output = layer.forward(input);
  const auto buffers = layer.named_buffers();
  // Two roundings of a centred float, 2^-24 each, and their average over the samples.
  const auto variances = expected.covariance.diagonal();
  EXPECT_LT(((buffers["running_variance"] - variances) / variances).abs().max().item<double>(),
            1e-7);
  EXPECT_LT((buffers["running_mean"] - expected.mean).abs().max().item<double>(), 1e-9);
  EXPECT_EQ(output.scalar_type(), torch::kFloat32);
  output.square().sum().backward();
  EXPECT_EQ(input.grad().scalar_type(), torch::kFloat32);
  // A shift of all samples changes nothing.
  auto sum = input.grad().sum(0, false, torch::kFloat64);
  world().all_reduce(sum);
  EXPECT_LT(sum.abs().max().item<double>() / samples, 1e-6);
}

TEST(NormalizationValuesTest, RankDeficientChannelsOfLargeValuesTrainInSinglePrecision) {
  torch::manual_seed(8);
  const auto rows =
      1000 * torch::rand({500, 9}, torch::kFloat64).matmul(torch::randn({9, 32}, torch::kFloat64));
  const auto weights = torch::randn({500, 32}, torch::kFloat64);
  torch::Tensor gradients[2];
  torch::Tensor outputs[2];
  const auto input = rows.to(torch::kFloat32);
  for (const int in_double : {0, 1}) {
    const auto type = in_double == 1 ? torch::kFloat64 : torch::kFloat32;
    ZcaWhitening layer(world(), {.channels = 32});
    layer.to(type);
    auto part = part_of(input).to(type).requires_grad_();
    const auto output = layer.forward(part);
    (output * part_of(weights).to(type)).sum().backward();
    outputs[in_double] = output.detach().to(torch::kFloat64);
    gradients[in_double] = part.grad().to(torch::kFloat64);
  }
  // Values of 1e4 with digits to 1e-3, a hundredfold where the variance is epsilon; the gradient's
  // products add as much again.
  EXPECT_LE(magnitude(outputs[0] - outputs[1]), 0.5);
  EXPECT_LE(magnitude(gradients[0] - gradients[1]), 0.05 * magnitude(gradients[1]));
}

// Whitening needs its digits; only the products around it may lose them.
TEST(NormalizationValuesTest, WorksAmongProductsInBfloat16) {
  for (const std::string kind : {"batch", "zca", "pca-denoise"}) {
    const auto specification =
        complete_specification({{"input", {1, 8, 8}},
                                {"layers",
                                 {{{"type", "convolution"}, {"outputs", 6}, {"kernel", 3}},
                                  {{"type", "normalization"}, {"kind", kind}, {"momentum", 1}},
                                  {{"type", "relu"}},
                                  {{"type", "flatten"}},
                                  {{"type", "linear"}, {"outputs", 3}}}}},
                               "the test");
    torch::manual_seed(9);
    const auto images = torch::randn({24, 1, 8, 8});
    torch::Tensor gradients[2];
    torch::Tensor outputs[2];
    for (const int reduced : {0, 1}) {
      Network network(world(), specification, reduced == 1 ? torch::kBFloat16 : torch::kFloat32, 3);
      outputs[reduced] = network.forward(part_of(images));
      outputs[reduced].square().sum().backward();
      gradients[reduced] = network.parameters()[0].grad().flatten();
      world().all_reduce(gradients[reduced]);
      network.eval();
      const auto evaluated = network.forward(part_of(images)).detach();
      // Two roundings to 8 bits may fall differently; batch normalisation's running variance is
      // unbiased, a factor of 1536 / 1535.
      EXPECT_LE(magnitude(evaluated - outputs[reduced].detach()),
                (reduced == 1 ? 2e-2 : 1e-3) * (1 + magnitude(evaluated)))
          << kind;
    }
    EXPECT_LE(magnitude(outputs[1].detach() - outputs[0].detach()),
              5e-2 * (1 + magnitude(outputs[0].detach())))
        << kind;
    const double cosine = torch::cosine_similarity(gradients[0], gradients[1], 0).item<double>();
    EXPECT_GE(cosine, 0.98) << kind;
  }
}

}  // namespace
}  // namespace eigenscale
