#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <memory>

#include "eigenscale/linalg/process_grid.h"

namespace eigenscale {

/// How a rows x columns matrix lies on a process grid: cut into blocks of row_block x column_block,
/// block (i, j) on process (i mod Pr, j mod Pc); ScaLAPACK's layout with the first block on (0, 0).
/// Local blocks are packed in order.
struct BlockCyclicLayout {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t row_block = 1;
  std::int64_t column_block = 1;
  std::shared_ptr<const ProcessGrid> grid;

  /// [local] Rows (columns) that this process, or that of `rank`, holds.
  std::int64_t local_rows() const { return local_rows(grid->all().rank()); }
  std::int64_t local_columns() const { return local_columns(grid->all().rank()); }
  std::int64_t local_rows(int rank) const;
  std::int64_t local_columns(int rank) const;

  /// [local] Global indices of the local rows (columns), ascending, int64.
  torch::Tensor global_rows() const { return global_rows(grid->all().rank()); }
  torch::Tensor global_columns() const { return global_columns(grid->all().rank()); }
  torch::Tensor global_rows(int rank) const;
  torch::Tensor global_columns(int rank) const;

  /// Square layout with equal blocks, as eigensolvers want it.
  bool has_square_blocks() const { return row_block == column_block; }
  /// All of it on the first process, in one block.
  bool lies_on_first() const { return row_block >= rows && column_block >= columns; }
  /// The same place for every entry. Grids are the same when they are one object.
  bool operator==(const BlockCyclicLayout& other) const = default;

  /// [local] ScaLAPACK's array descriptor for a local leading dimension.
  std::array<int, 9> descriptor(std::int64_t leading_dimension) const;
};

/// [local] The size of blocks in which so many rows and columns spread over all processes of a
/// grid; 32 at most: no difference was measured between 16, 32 and 64.
std::int64_t block_size(std::int64_t size, const ProcessGrid& grid);

/// [local] A size x size matrix in such blocks.
BlockCyclicLayout square_layout(std::int64_t size, std::shared_ptr<const ProcessGrid> grid);

/// [local] The same in one block, on the first process.
BlockCyclicLayout one_block(std::int64_t size, std::shared_ptr<const ProcessGrid> grid);

/// The diagonal entries that this rank holds: their local rows, local columns, and common global
/// index; int64, ascending.
struct OwnDiagonal {
  torch::Tensor rows;
  torch::Tensor columns;
  torch::Tensor indices;
};

/// [local]
OwnDiagonal own_diagonal(const BlockCyclicLayout& layout);

/// [local] Throws OptionError when a local part has 2^31 entries or more, which LP64 libraries
/// cannot index; names the ranks that would do.
void require_indexable(const BlockCyclicLayout& layout);

}  // namespace eigenscale
