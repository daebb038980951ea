#include "eigenscale/linalg/redistribute.h"

#include "eigenscale/linalg/row_blocks.h"
#include "linalg_test_support.h"

namespace eigenscale {
namespace {

using test::world;

torch::Tensor numbered(std::int64_t rows, std::int64_t columns) {
  return torch::arange(rows * columns, torch::kFloat64).reshape({rows, columns});
}

/// Layouts of one shape on all grids: square and oblong blocks, smaller and larger than the matrix.
std::vector<BlockCyclicLayout> layouts(std::int64_t rows, std::int64_t columns) {
  std::vector<BlockCyclicLayout> result;
  for (const auto& grid : test::all_grids()) {
    result.push_back({rows, columns, 1, 1, grid});
    result.push_back({rows, columns, 2, 3, grid});
    result.push_back({rows, columns, 4, 4, grid});
    result.push_back({rows, columns, rows + 1, 1, grid});
  }
  return result;
}

TEST(Redistribute, MovesEveryEntryToItsPlace) {
  for (const auto& [rows, columns] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {2, 5}, {7, 7}, {13, 4}}) {
    const auto whole = numbered(rows, columns);
    for (const auto& from : layouts(rows, columns)) {
      const auto matrix = test::distribute(whole, from);
      for (const auto& to : layouts(rows, columns)) {
        EXPECT_TRUE(redistribute(matrix, to).local().equal(test::local_part(whole, to)));
      }
      for (const auto& to : layouts(columns, rows)) {
        EXPECT_TRUE(
            redistribute_transposed(matrix, to).local().equal(test::local_part(whole.t(), to)));
      }
    }
  }
}

TEST(RowBlocks, GoThereAndBack) {
  for (const std::int64_t rows : {1, 3, 10, 17}) {
    const auto whole = numbered(rows, 6);
    const RowPartition partition(rows, world().size());
    const auto range = partition.range(world().rank());
    const auto own = whole.narrow(0, range.begin, range.size());
    for (const auto& layout : layouts(rows, 6)) {
      const auto matrix = from_row_blocks(own, partition, layout);
      EXPECT_TRUE(matrix.local().equal(test::local_part(whole, layout)));
      EXPECT_TRUE(to_row_blocks(matrix, partition).equal(own));
    }
  }
}

}  // namespace
}  // namespace eigenscale
