#include "eigenscale/core/row_partition.h"

#include "support/mpi_test.h"

namespace eigenscale {
namespace {

TEST(RowPartition, CoversAllRowsOnceInOrder) {
  for (const std::int64_t rows : {0, 1, 2, 5, 7, 10, 400}) {
    for (const int ranks : {1, 2, 3, 4, 7}) {
      const RowPartition partition(rows, ranks);
      std::int64_t next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const RowRange range = partition.range(rank);
        EXPECT_EQ(range.begin, next);
        EXPECT_LE(range.size(), partition.block());
        for (std::int64_t row = range.begin; row < range.end; ++row) {
          EXPECT_EQ(partition.owner(row), rank);
        }
        EXPECT_EQ(partition.counts()[rank], range.size());
        next = range.end;
      }
      EXPECT_EQ(next, rows);
    }
  }
}

TEST(RowPartition, LeavesRanksWithoutRows) {
  const RowPartition partition(5, 4);  // blocks of two: 2, 2, 1, 0
  EXPECT_EQ(partition.range(2).size(), 1);
  EXPECT_EQ(partition.range(3).size(), 0);
}

}  // namespace
}  // namespace eigenscale
