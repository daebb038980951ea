#include "eigenscale/linalg/positive_definite.h"

#include "linalg/linalg_test_support.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

TEST(PositiveDefinite, TellsTheSignOfTheSmallestEigenvalue) {
  const std::int64_t n = 41;
  torch::manual_seed(2);
  const auto vectors = std::get<0>(torch::linalg_qr(torch::randn({n, n}, torch::kFloat64)));
  const auto values = torch::logspace(-6, 2, n, 10, torch::kFloat64);
  const auto matrix = (vectors * values).matmul(vectors.t());
  const auto grids = test::all_grids();
  std::vector<BlockCyclicLayout> layouts = {one_block(n, grids.back())};
  for (const auto& grid : grids) {
    layouts.push_back({n, n, 4, 4, grid});
  }
  for (const auto& layout : layouts) {
    const auto distributed = test::distribute(matrix, layout);
    const auto before = distributed.local().clone();
    EXPECT_TRUE(is_positive_definite(distributed));
    // The smallest is 1e-6; rounding is some 1e2 2^-53.
    EXPECT_TRUE(is_positive_definite(distributed, -0.999e-6));
    EXPECT_FALSE(is_positive_definite(distributed, -1.001e-6));
    EXPECT_FALSE(is_positive_definite(distributed, -200));
    EXPECT_TRUE(torch::equal(distributed.local(), before));
  }
}

}  // namespace
}  // namespace eigenscale
