#include "linalg_test_support.h"

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

using test::world;

TEST(ProcessGrid, IsRowMajorWithItsRowsAndColumns) {
  for (const auto& grid : test::all_grids()) {
    EXPECT_EQ(grid->row_index() * grid->columns() + grid->column_index(), world().rank());
    EXPECT_EQ(grid->row().size(), grid->columns());
    EXPECT_EQ(grid->row().rank(), grid->column_index());
    EXPECT_EQ(grid->column().size(), grid->rows());
    EXPECT_EQ(grid->column().rank(), grid->row_index());
  }
}

TEST(ProcessGrid, RefusesWhatDoesNotFit) {
  try {
    const ProcessGrid grid(world(), world().size() + 1, 1);
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kOptions);
    EXPECT_TRUE(error.agreed());
  }
}

TEST(ProcessGrid, SquarestHasTheLargerFactorFirst) {
  EXPECT_EQ(ProcessGrid::squarest(1), (std::pair{1, 1}));
  EXPECT_EQ(ProcessGrid::squarest(6), (std::pair{3, 2}));
  EXPECT_EQ(ProcessGrid::squarest(7), (std::pair{7, 1}));
  EXPECT_EQ(ProcessGrid::squarest(16), (std::pair{4, 4}));
}

TEST(BlockCyclicLayout, EveryEntryLiesOnExactlyOneRank) {
  for (const auto& grid : test::all_grids()) {
    for (const std::int64_t size : {1, 2, 3, 4, 5, 7, 31}) {
      for (const std::int64_t block : {1, 2, 4, 50}) {
        const BlockCyclicLayout layout{size, 2 * size, block, block + 1, grid};
        auto hits = torch::zeros({size, 2 * size}, torch::kInt64);
        for (int rank = 0; rank < world().size(); ++rank) {
          const auto rows = layout.global_rows(rank);
          const auto columns = layout.global_columns(rank);
          EXPECT_EQ(rows.numel(), layout.local_rows(rank));
          EXPECT_EQ(columns.numel(), layout.local_columns(rank));
          if (rows.numel() > 0 && columns.numel() > 0) {
            hits.index_put_({rows.unsqueeze(1), columns.unsqueeze(0)},
                            torch::ones({}, torch::kInt64), true);
          }
        }
        EXPECT_TRUE((hits == 1).all().item<bool>());
      }
    }
  }
}

TEST(BlockCyclicLayout, RefusesLocalPartsThatCannotBeIndexed) {
  const auto& grid = test::all_grids().front();
  EXPECT_THROW(require_indexable({std::int64_t{1} << 20, std::int64_t{1} << 20, 64, 64, grid}),
               OptionError);
}

TEST(BlockCyclicLayout, FindsTheDiagonalItOwns) {
  for (const auto& grid : test::all_grids()) {
    for (const BlockCyclicLayout& layout :
         {BlockCyclicLayout{13, 13, 3, 3, grid}, BlockCyclicLayout{7, 11, 2, 5, grid}}) {
      const auto own = own_diagonal(layout);
      const auto mask = layout.global_rows().unsqueeze(1) == layout.global_columns().unsqueeze(0);
      auto marked = torch::zeros(mask.sizes(), torch::kBool);
      marked.index_put_({own.rows, own.columns}, torch::ones(own.rows.sizes(), torch::kBool));
      EXPECT_TRUE(marked.equal(mask));
      EXPECT_TRUE(own.indices.equal(layout.global_rows().index_select(0, own.rows)));
    }
  }
}

}  // namespace
}  // namespace eigenscale
