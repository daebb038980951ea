#include "eigenscale/spectral/differentiable_eigen.h"

#include "eigenscale/core/errors.h"
#include "spectra.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::with_eigenvalues;

constexpr std::array kRules = {GradientRule::kExact, GradientRule::kPowerIteration,
                               GradientRule::kTaylor, GradientRule::kClip, GradientRule::kPade};

torch::Tensor exact_factors(const torch::Tensor& values) {
  return gradient_factors(values, {GradientRule::kExact});
}

TEST(GradientRuleTest, NamesReadBack) {
  for (const auto rule : kRules) {
    EXPECT_EQ(parse_gradient_rule(to_string(rule)), rule);
  }
  EXPECT_THROW(parse_gradient_rule("newton"), OptionError);
}

TEST(GradientRuleTest, FactorsAreAntisymmetric) {
  torch::manual_seed(1);
  const auto values = std::get<0>(torch::rand({9}, torch::kFloat64).sort(0, true));
  for (const auto rule : kRules) {
    const auto factors = gradient_factors(values, {rule});
    EXPECT_EQ((factors + factors.t()).abs().max().item<double>(), 0) << to_string(rule);
  }
}

// The remainder of the geometric series, exactly (l_j / l_i)^T.
TEST(GradientRuleTest, SeriesHaveTheStatedError) {
  const auto values = torch::tensor({1.0, 0.99, 0.9, 0.5, 0.1, 1e-3}, torch::kFloat64);
  const auto exact = exact_factors(values);
  for (const auto rule : {GradientRule::kTaylor, GradientRule::kPowerIteration}) {
    for (const std::int64_t terms : {1, 10, 20, 29}) {
      const auto factors = gradient_factors(values, {rule, terms});
      for (std::int64_t i = 0; i < values.numel(); ++i) {
        for (std::int64_t j = i + 1; j < values.numel(); ++j) {
          const double error = 1 - factors[i][j].item<double>() / exact[i][j].item<double>();
          const double ratio = values[j].item<double>() / values[i].item<double>();
          EXPECT_NEAR(error, std::pow(ratio, static_cast<double>(terms)), 1e-12);
        }
      }
    }
  }
  const auto rational = gradient_factors(values, {GradientRule::kPade});
  EXPECT_LE((rational - exact).abs().max().item<double>(), 1e-10 * exact.max().item<double>());
}

TEST(GradientRuleTest, SeriesAreBounded) {
  const auto values = torch::tensor({2.0, 2.0, 2.0 - 1e-14, 1.0, 1.0}, torch::kFloat64);
  for (const std::int64_t terms : {1, 10, 20}) {
    const auto bound =
        static_cast<double>(terms) / torch::maximum(values.unsqueeze(0), values.unsqueeze(1));
    for (const auto rule : {GradientRule::kTaylor, GradientRule::kPowerIteration}) {
      const auto factors = gradient_factors(values, {rule, terms});
      EXPECT_TRUE((factors.abs() <= bound * (1 + 1e-14)).all().item<bool>()) << to_string(rule);
    }
  }
}

/// A loss that does not depend on the signs of the eigenvectors.
torch::Tensor loss_of(const Eigenpairs& pairs, const torch::Tensor& weights) {
  const auto scaled = pairs.vectors.square() * weights;
  return scaled.sum() + (pairs.values * pairs.values).sum();
}

TEST(DifferentiableEigenTest, AgreesWithAutogradWhereThatIsStable) {
  torch::manual_seed(2);
  for (const std::int64_t n : {1, 2, 5, 16}) {
    // Ratios of 1/16: all series have converged to 16^-10, and no difference is below 0.01.
    const auto values = torch::pow(16.0, -torch::arange(n, torch::kFloat64)) * 1e18;
    const auto matrix =
        with_eigenvalues(n > 5 ? torch::arange(n, 0, -1).to(torch::kFloat64) : values);
    const auto weights = torch::randn({n, n}, torch::kFloat64);
    auto reference = matrix.clone().requires_grad_(true);
    const auto [l, v] = torch::linalg_eigh(reference, "L");
    loss_of({l.flip(0), v.flip(1)}, weights).backward();
    const auto expected = (reference.grad() + reference.grad().t()) / 2;
    for (const auto rule : kRules) {
      const bool is_series = rule == GradientRule::kTaylor || rule == GradientRule::kPowerIteration;
      auto leaf = matrix.clone().requires_grad_(true);
      // 1 .. 16: the closest ratio is 15/16, (15/16)^600 = 1e-17.
      loss_of(differentiable_eigen(leaf, {rule, is_series ? 600 : 0}), weights).backward();
      EXPECT_LE((leaf.grad() - expected).abs().max().item<double>(),
                1e-9 * expected.abs().max().item<double>())
          << to_string(rule) << " " << n;
    }
  }
}

TEST(DifferentiableEigenTest, OnlyTheExactRuleFails) {
  // The ranks share the trials out.
  const auto& world = test::world();
  torch::manual_seed(3 + world.rank());
  std::array<int, kRules.size()> failures = {};
  const int share = 10000 / world.size() + 1;
  for (int trial = world.rank() * share; trial < (world.rank() + 1) * share; ++trial) {
    const std::int64_t n = 2 + trial % 5;
    auto values = torch::rand({n}, torch::kFloat64);
    if (trial % 4 == 1) {
      values.fill_(1);
    } else if (trial % 4 == 2) {
      values.narrow(0, 0, n / 2).zero_();
    } else if (trial % 4 == 3) {
      values = 1 + 1e-15 * values;
    }
    // A diagonal matrix keeps equal eigenvalues equal to the last bit.
    const auto matrix = trial % 8 < 4 ? torch::diag(values) : with_eigenvalues(values);
    const auto weights = torch::randn({n, n}, torch::kFloat64);
    for (std::size_t i = 0; i < kRules.size(); ++i) {
      auto leaf = matrix.clone().requires_grad_(true);
      loss_of(differentiable_eigen(leaf, {kRules[i]}), weights).backward();
      failures[i] += leaf.grad().isfinite().all().item<bool>() ? 0 : 1;
    }
  }
  for (std::size_t i = 0; i < kRules.size(); ++i) {
    if (kRules[i] == GradientRule::kExact) {
      EXPECT_GT(failures[i], 1000 / world.size());
    } else {
      EXPECT_EQ(failures[i], 0) << to_string(kRules[i]);
    }
  }
}

TEST(DifferentiableEigenTest, RefusesWhatIsNotFinite) {
  auto matrix = torch::eye(3, torch::kFloat64);
  matrix[1][2] = std::nan("");
  EXPECT_THROW(differentiable_eigen(matrix), NumericalError);
}

}  // namespace
}  // namespace eigenscale
