#include "eigenscale/cluster/self_expression.h"

#include "cluster_test_support.h"

namespace eigenscale {
namespace {

using test::world;

/// The layer on the whole problem, by autograd and the same Adam, on every rank.
struct Reference {
  torch::Tensor coefficients;
  torch::Tensor first, second;

  torch::Tensor step(const torch::Tensor& gradient, const torch::Tensor& latent, double weight,
                     bool l1, std::int64_t steps) {
    const auto latent_gradient = coefficients.t().matmul(gradient);
    auto d = gradient.matmul(latent.t());
    d += l1 ? weight * coefficients.sign() : 2 * weight * coefficients;
    adam_update(coefficients, d, first, second, steps, {});
    if (l1) {
      coefficients.fill_diagonal_(0);
    }
    return latent_gradient;
  }
};

void run_case(std::int64_t samples, CoefficientNorm norm) {
  constexpr std::int64_t kLatent = 7;
  const bool l1 = norm == CoefficientNorm::kL1;
  for (const auto& grid : test::all_grids()) {
    SCOPED_TRACE(testing::Message()
                 << samples << " samples on " << grid->rows() << " x " << grid->columns());
    const RowPartition partition(samples, world().size());
    const auto own = partition.range(world().rank());
    SelfExpression layer(grid, partition, torch::kFloat64,
                         {.norm = norm, .weight_coefficient = 0.3, .initial = 0.01, .adam = {}});
    auto start = 0.1 * test::random_matrix(samples, samples, 31);
    if (l1) {
      start.fill_diagonal_(0);
    }
    const auto matrix = layer.coefficients();
    matrix.local().copy_(test::local_part(start, matrix.layout()));
    Reference reference{start.clone(), torch::zeros_like(start), torch::zeros_like(start)};

    for (std::int64_t step = 1; step <= 3; ++step) {
      const auto latent = test::random_matrix(samples, kLatent, 40 + step);
      const auto gradient = test::random_matrix(samples, kLatent, 50 + step);
      const auto columns_of = [&](const torch::Tensor& all) {
        return all.narrow(0, own.begin, own.size()).t().contiguous();
      };
      const auto expressed = layer.reconstruct(columns_of(latent));
      // A product of length N in another order of summation: N eps times the terms' size.
      const double bound = static_cast<double>(samples) * 1e-15 * 10;
      EXPECT_TRUE(expressed.allclose(columns_of(reference.coefficients.matmul(latent)), 0, bound));
      const double penalty = l1 ? reference.coefficients.abs().sum().item<double>()
                                : reference.coefficients.square().sum().item<double>();
      const auto back = layer.backward_and_update(columns_of(gradient), columns_of(latent));
      const auto expected = reference.step(gradient, latent, 0.3, l1, step);
      EXPECT_TRUE(back.allclose(columns_of(expected), 0, bound));
      EXPECT_NEAR(all_reduce(world(), layer.penalty()), penalty, 1e-12 * penalty);
    }
    // Adam divides by sqrt(v): errors of the gradient relative to itself reach the update, times
    // the learning rate 1e-3; the smallest gradients of a random matrix are ~1e-6 of the typical.
    EXPECT_TRUE(matrix.local().allclose(test::local_part(reference.coefficients, matrix.layout()),
                                        0, 1e-10));
  }
}

TEST(SelfExpression, EqualsTheDenseLayerOnEveryGrid) {
  for (const std::int64_t samples : {1, 3, 8, 29, 300, 601}) {
    run_case(samples, CoefficientNorm::kL2);
  }
}

TEST(SelfExpression, L1KeepsTheDiagonalAtZero) {
  for (const std::int64_t samples : {3, 29, 300}) {
    run_case(samples, CoefficientNorm::kL1);
  }
}

TEST(SelfExpression, RepeatedRunsAreBitIdentical) {
  const auto grid = test::all_grids().back();
  const RowPartition partition(50, world().size());
  const auto own = partition.range(world().rank());
  const auto columns =
      test::random_matrix(50, 5, 61).narrow(0, own.begin, own.size()).t().contiguous();
  const auto run = [&] {
    SelfExpression layer(grid, partition, torch::kFloat32, {});
    for (int step = 0; step < 5; ++step) {
      const auto latent = columns.to(torch::kFloat32);
      layer.backward_and_update(layer.reconstruct(latent) - latent, latent);
    }
    return layer.coefficients().local().clone();
  };
  EXPECT_TRUE(run().equal(run()));
}

}  // namespace
}  // namespace eigenscale
