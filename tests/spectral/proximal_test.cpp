#include "eigenscale/spectral/proximal.h"

#include <cmath>
#include <vector>

#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/spectral/distributed_singular_value_threshold.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

// X is the proximal point of W for a norm r exactly when R = W - X is a subgradient of r at X: its
// dual norm is at most the threshold, and <R, X> = threshold r(X).
constexpr double kOperator = 1e-10;  // single operators are a decomposition away from exact
constexpr double kSum = 1e-8;        // the iteration ends at 1e-10 of the largest entry

std::vector<torch::Tensor> matrices() {
  torch::manual_seed(5);
  const auto type = torch::kFloat64;
  const auto random = torch::randn({7, 5}, type);
  return {random,
          torch::randn({5, 9}, type),
          torch::zeros({4, 3}, type),
          torch::randn({8, 2}, type).mm(torch::randn({2, 6}, type)),
          torch::randn({1, 6}, type),
          torch::randn({6, 1}, type),
          random * torch::tensor({1e-3, 1.0, 1e-3, 5.0, 0.0, 1.0, 30.0}, type).unsqueeze(1),
          torch::eye(4, type)};
}

const std::vector<double> kThresholds = {1e-6, 0.1, 1.0, 2.5, 100.0};

double inner_product(const torch::Tensor& a, const torch::Tensor& b) {
  return (a * b).sum().item<double>();
}

void expect_group_subgradient(const torch::Tensor& residual, const torch::Tensor& point,
                              double threshold, double tolerance) {
  const auto norms = residual.norm(2, {1});
  EXPECT_LE(norms.max().item<double>(), threshold + tolerance);
  EXPECT_NEAR(inner_product(residual, point), threshold * point.norm(2, {1}).sum().item<double>(),
              tolerance * (1 + point.norm().item<double>()));
}

void expect_nuclear_subgradient(const torch::Tensor& residual, const torch::Tensor& point,
                                double threshold, double tolerance) {
  EXPECT_LE(torch::linalg_svdvals(residual).max().item<double>(), threshold + tolerance);
  EXPECT_NEAR(inner_product(residual, point),
              threshold * torch::linalg_svdvals(point).sum().item<double>(),
              tolerance * (1 + point.norm().item<double>()));
}

TEST(ProximalTest, GroupsSatisfyTheirOptimalityCondition) {
  for (const auto& matrix : matrices()) {
    for (const double threshold : kThresholds) {
      const auto point = group_threshold(matrix, threshold);
      expect_group_subgradient(matrix - point, point, threshold, kOperator);
      EXPECT_TRUE(torch::equal((point == 0).all(1), matrix.norm(2, {1}) <= threshold));
    }
  }
}

TEST(ProximalTest, SparseGroupsSatisfyTheirOptimalityCondition) {
  for (const auto& matrix : matrices()) {
    for (const double threshold : kThresholds) {
      const double group = 0.7 * threshold;
      const double elements = 0.3 * threshold;
      const auto point = sparse_group_threshold(matrix, group, elements);
      const auto residual = matrix - point;
      const auto norms = point.norm(2, {1}, true);
      const auto live = (norms > 0).expand_as(point);
      // Of entries that are not zero both parts are known, of zero ones in live rows one.
      const auto known = group * point / norms.clamp_min(1e-300) + elements * point.sign();
      const auto nonzero = live & (point != 0);
      EXPECT_LE(torch::where(nonzero, residual - known, torch::zeros_like(point))
                    .abs()
                    .max()
                    .item<double>(),
                kOperator);
      const auto within = torch::where(live & (point == 0), residual, torch::zeros_like(point));
      EXPECT_LE(within.abs().max().item<double>(), elements + kOperator);
      // Of zero rows the part beyond the elements' share is a subgradient of the group norm.
      const auto rest = torch::where(live, torch::zeros_like(point),
                                     residual - residual.clamp(-elements, elements));
      EXPECT_LE(rest.norm(2, {1}).max().item<double>(), group + kOperator);
    }
  }
}

TEST(ProximalTest, RanksSatisfyTheirOptimalityCondition) {
  for (const auto& matrix : matrices()) {
    for (const double threshold : kThresholds) {
      const auto low = singular_value_threshold(matrix, threshold);
      expect_nuclear_subgradient(matrix - low.matrix, low.matrix, threshold, kOperator);
      const auto singular = torch::linalg_svdvals(low.matrix);
      const double rounding = 1e-12 * (1 + matrix.norm().item<double>());
      EXPECT_EQ((singular > rounding).sum().item<std::int64_t>(), low.rank);
      if (low.rank == 0) {
        EXPECT_TRUE((low.matrix == 0).all().item<bool>());
      }
    }
  }
}

TEST(ProximalTest, TheSumSatisfiesItsOptimalityConditionAndTheSequenceDoesNot) {
  double sequential_excess = 0;
  for (const auto& matrix : matrices()) {
    for (const double threshold : {0.05, 0.3, 1.0}) {
      const auto groups = [&](const torch::Tensor& x) { return group_threshold(x, threshold); };
      const auto ranks = [&](const torch::Tensor& x) {
        return singular_value_threshold(x, threshold).matrix;
      };
      const auto sum = proximal_of_sum(matrix, groups, ranks, 1e-10, 200000);
      expect_group_subgradient(sum.of_f, sum.point, threshold, kSum);
      expect_nuclear_subgradient(matrix - sum.point - sum.of_f, sum.point, threshold, kSum);
      EXPECT_TRUE(torch::equal(groups(sum.point + sum.of_f) == 0, sum.point == 0));

      const auto objective = [&](const torch::Tensor& x) {
        return 0.5 * (x - matrix).square().sum().item<double>() +
               threshold * (x.norm(2, {1}).sum() + torch::linalg_svdvals(x).sum()).item<double>();
      };
      const double excess = objective(groups(ranks(matrix))) - objective(sum.point);
      EXPECT_GE(excess, -kSum);
      sequential_excess = std::max(sequential_excess, excess);
    }
  }
  // The paper's sequence is another operator.
  EXPECT_GT(sequential_excess, 1e-3);
}

TEST(ProximalTest, ThresholdsOfZeroChangeNothing) {
  for (const auto& matrix : matrices()) {
    EXPECT_TRUE(torch::equal(sparse_group_threshold(matrix, 0, 0), matrix));
    EXPECT_TRUE(torch::allclose(singular_value_threshold(matrix, 0).matrix, matrix, 0, kOperator));
  }
}

TEST(ProximalTest, RefusesToDecomposeWhatIsNotFinite) {
  auto matrix = torch::randn({4, 3}, torch::kFloat64);
  matrix[2][1] = std::nan("");
  EXPECT_THROW(singular_value_threshold(matrix, 0.1), NumericalError);
}

// Through the Gram matrix, whose rounding (1e-16 of the largest eigenvalue) moves singular values
// above a hundredth of the largest by less than 1e-12 of it.
TEST(ProximalTest, AllRanksTogetherGiveTheSame) {
  if (!ProcessGrid::supports(test::world().size())) {
    GTEST_SKIP() << "this build multiplies on one rank only";
  }
  const auto [rows, columns] = ProcessGrid::squarest(test::world().size());
  const auto grid = std::make_shared<ProcessGrid>(test::world(), rows, columns);
  torch::manual_seed(11);
  for (const auto& shape : {std::pair{37, 23}, std::pair{23, 37}, std::pair{2, 50}, std::pair{3, 1},
                            std::pair{64, 64}}) {
    const auto matrix = torch::randn({shape.first, shape.second}, torch::kFloat64);
    const double largest = torch::linalg_svdvals(matrix).max().item<double>();
    for (const double share : {0.05, 0.5, 1.1}) {
      const auto local = singular_value_threshold(matrix, share * largest);
      const auto together = distributed_singular_value_threshold(matrix, share * largest, grid);
      EXPECT_EQ(together.rank, local.rank);
      EXPECT_LE((together.matrix - local.matrix).abs().max().item<double>(), 1e-10 * largest);
    }
  }
}

}  // namespace
}  // namespace eigenscale
