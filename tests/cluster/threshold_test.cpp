#include "eigenscale/cluster/threshold.h"

#include "cluster_test_support.h"

namespace eigenscale {
namespace {

using test::world;

DistributedMatrix distribute(const torch::Tensor& whole,
                             const std::shared_ptr<const ProcessGrid>& grid) {
  const RowPartition partition(whole.size(0), world().size());
  return test::distribute(whole, {whole.size(0), whole.size(1), grid->columns() * partition.block(),
                                  partition.block(), grid});
}

TEST(Threshold, KeepsTheLargestUntilTheShareIsExceeded) {
  auto whole = torch::zeros({5, 5}, torch::kFloat64);
  whole.select(1, 0).copy_(torch::tensor({1.0, -4.0, 2.0, 0.5, 2.5}));  // L1 norm 10
  whole.select(1, 2).copy_(torch::tensor({3.0, 3.0, 3.0, 0.0, 0.0}));   // equal entries
  for (const auto& grid : test::all_grids()) {
    const auto cut = threshold_columns(distribute(whole, grid), 0.4, false);
    auto expected = torch::zeros({5, 5}, torch::kFloat64);
    // 4 is not more than 40 % of 10, so 2.5 stays as well; of equals the upper rows stay.
    expected.select(1, 0).copy_(torch::tensor({0.0, -4.0, 0.0, 0.0, 2.5}));
    expected.select(1, 2).copy_(torch::tensor({3.0, 3.0, 0.0, 0.0, 0.0}));
    EXPECT_TRUE(cut.local().equal(test::local_part(expected, cut.layout())));
  }
}

TEST(Threshold, DropsTheDiagonalWhenAsked) {
  const auto whole = torch::eye(6, torch::kFloat64) * 100 + 1;
  for (const auto& grid : test::all_grids()) {
    const auto cut = threshold_columns(distribute(whole, grid), 1.0, true);
    const auto expected = torch::ones({6, 6}, torch::kFloat64).fill_diagonal_(0);
    EXPECT_TRUE(cut.local().equal(test::local_part(expected, cut.layout())));
  }
}

TEST(Threshold, NeighboursAreTheLargestOutsideTheDiagonal) {
  auto whole = torch::eye(5, torch::kFloat64) * 100;
  whole.select(1, 0).narrow(0, 1, 4).copy_(torch::tensor({-4.0, 2.0, 0.5, 2.5}));
  whole.select(1, 2).copy_(torch::tensor({3.0, 3.0, 100.0, -3.0, 1.0}));  // equal entries
  auto expected = torch::zeros({5, 5}, torch::kFloat64);
  expected.select(1, 0).copy_(torch::tensor({0.0, -4.0, 0.0, 0.0, 2.5}));
  expected.select(1, 2).copy_(torch::tensor({3.0, 3.0, 0.0, 0.0, 0.0}));
  for (const auto& grid : test::all_grids()) {
    const auto kept = keep_neighbours(distribute(whole, grid), 2);
    EXPECT_TRUE(kept.local().equal(test::local_part(expected, kept.layout())));
    const auto all = keep_neighbours(distribute(whole, grid), 9);
    EXPECT_TRUE(all.local().equal(
        test::local_part(whole - torch::eye(5, torch::kFloat64) * 100, all.layout())));
  }
}

TEST(Threshold, IsTheSameOnEveryGridToTheBit) {
  const auto whole = test::random_matrix(37, 37, 71).to(torch::kFloat32);
  const auto reference = threshold_columns(distribute(whole, test::all_grids()[0]), 0.3, false);
  for (const auto& grid : test::all_grids()) {
    EXPECT_TRUE(
        threshold_columns(distribute(whole, grid), 0.3, false).local().equal(reference.local()));
  }
}

}  // namespace
}  // namespace eigenscale
