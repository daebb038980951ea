#include "eigenscale/cluster/closed_form.h"

#include "cluster_test_support.h"

namespace eigenscale {
namespace {

using test::world;

void check(std::int64_t samples, std::int64_t features) {
  SCOPED_TRACE(testing::Message() << samples << " x " << features);
  const auto grid = test::all_grids().back();
  const RowPartition partition(samples, world().size());
  const auto range = partition.range(world().rank());
  const auto z = test::random_matrix(samples, features, 91);
  const auto found =
      closed_form(z.narrow(0, range.begin, range.size()).contiguous(), partition, grid, 3);

  const auto singular = std::get<1>(torch::linalg_svd(z, false));
  const double ridge = 0.01 * singular.narrow(0, 0, 3).square().mean().item<double>();
  EXPECT_NEAR(found.ridge, ridge, 1e-12 * ridge);
  // The Gram matrix squares the condition number: absolute error sqrt(eps) of the largest.
  EXPECT_TRUE(found.singular_values.narrow(0, 0, singular.size(0))
                  .allclose(singular, 0, 1.5e-8 * singular[0].item<double>()));
  const auto gram = z.t().matmul(z) + ridge * torch::eye(features, torch::kFloat64);
  const auto expected = z.matmul(torch::linalg_solve(gram, z.t()));
  EXPECT_TRUE(
      found.matrix.local().allclose(test::local_part(expected, found.matrix.layout()), 0, 1e-11));
}

TEST(ClosedForm, IsTheRidgeSolutionByEitherSide) {
  check(25, 6);
  check(9, 23);
  check(5, 5);
}

}  // namespace
}  // namespace eigenscale
