#include "eigenscale/linalg/gathered_triangle.h"

#include "linalg_test_support.h"

namespace eigenscale {
namespace {

TEST(GatheredTriangle, LiesOnTheFirstRank) {
  for (const std::int64_t n : {1, 5, 37, 96}) {  // some ranks own nothing
    const auto whole = test::random_matrix(n, n, 3);
    for (const auto& grid : test::all_grids()) {
      for (const auto& [rows, columns] : {std::pair{4, 4}, {32, 32}, {3, 7}}) {
        const auto found = gathered_triangle(test::distribute(whole, {n, n, rows, columns, grid}));
        if (test::world().rank() == 0) {
          EXPECT_TRUE(found.tril().equal(whole.tril()));
          EXPECT_EQ(found.stride(0), 1);
        } else {
          EXPECT_EQ(found.numel(), 0);
        }
      }
    }
  }
}

TEST(GatheredTriangle, TakesAPartOfALargerMatrix) {
  const auto whole = test::random_matrix(40, 40, 4);
  const BlockCyclicLayout layout{40, 40, 8, 8, test::all_grids().back()};
  const auto rows = layout.local_rows();
  const auto columns = layout.local_columns();
  auto larger = empty_column_major(rows + 3, columns, torch::kFloat64);
  larger.narrow(0, 0, rows).copy_(test::local_part(whole, layout));
  const auto found = gathered_triangle({layout, larger.narrow(0, 0, rows)});
  if (test::world().rank() == 0) {
    EXPECT_TRUE(found.tril().equal(whole.tril()));
  }
}

}  // namespace
}  // namespace eigenscale
