#include "eigenscale/linalg/block_cyclic_layout.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

// ScaLAPACK's NUMROC for a first block on process 0.
std::int64_t local_size(std::int64_t size, std::int64_t block, int index, int processes) {
  const std::int64_t blocks = size / block;
  std::int64_t local = blocks / processes * block;
  const std::int64_t rest = blocks % processes;
  if (index < rest) {
    local += block;
  } else if (index == rest) {
    local += size % block;
  }
  return local;
}

torch::Tensor global_indices(std::int64_t size, std::int64_t block, int index, int processes) {
  auto indices = torch::empty({local_size(size, block, index, processes)}, torch::kInt64);
  auto* next = indices.data_ptr<std::int64_t>();
  for (std::int64_t first = index * block; first < size; first += processes * block) {
    for (std::int64_t i = first; i < std::min(first + block, size); ++i) {
      *next++ = i;
    }
  }
  return indices;
}

}  // namespace

std::int64_t BlockCyclicLayout::local_rows(int rank) const {
  return local_size(rows, row_block, grid->row_index(rank), grid->rows());
}

std::int64_t BlockCyclicLayout::local_columns(int rank) const {
  return local_size(columns, column_block, grid->column_index(rank), grid->columns());
}

torch::Tensor BlockCyclicLayout::global_rows(int rank) const {
  return global_indices(rows, row_block, grid->row_index(rank), grid->rows());
}

torch::Tensor BlockCyclicLayout::global_columns(int rank) const {
  return global_indices(columns, column_block, grid->column_index(rank), grid->columns());
}

std::array<int, 9> BlockCyclicLayout::descriptor(std::int64_t leading_dimension) const {
  constexpr int kDense = 1;
  return {kDense,
          grid->blacs_context(),
          static_cast<int>(rows),
          static_cast<int>(columns),
          static_cast<int>(row_block),
          static_cast<int>(column_block),
          0,
          0,
          static_cast<int>(std::max<std::int64_t>(1, leading_dimension))};
}

std::int64_t block_size(std::int64_t size, const ProcessGrid& grid) {
  constexpr std::int64_t kLargestBlock = 32;
  const std::int64_t widest = std::max(grid.rows(), grid.columns());
  return std::clamp<std::int64_t>((size + widest - 1) / widest, 1, kLargestBlock);
}

BlockCyclicLayout square_layout(std::int64_t size, std::shared_ptr<const ProcessGrid> grid) {
  const std::int64_t block = block_size(size, *grid);
  return {size, size, block, block, std::move(grid)};
}

BlockCyclicLayout one_block(std::int64_t size, std::shared_ptr<const ProcessGrid> grid) {
  return {size, size, std::max<std::int64_t>(size, 1), std::max<std::int64_t>(size, 1),
          std::move(grid)};
}

OwnDiagonal own_diagonal(const BlockCyclicLayout& layout) {
  const auto rows = layout.global_rows();
  const auto columns = layout.global_columns();
  if (rows.numel() == 0) {
    const auto none = torch::empty({0}, torch::kInt64);
    return {none, none, none};
  }
  const auto places = torch::searchsorted(rows, columns).clamp_max_(rows.numel() - 1);
  const auto found = (rows.index_select(0, places) == columns).nonzero().flatten();
  return {places.index_select(0, found), found, columns.index_select(0, found)};
}

void require_indexable(const BlockCyclicLayout& layout) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  const double entries = static_cast<double>(layout.rows) * static_cast<double>(layout.columns);
  if (layout.local_rows(0) * layout.local_columns(0) > kMost || layout.rows > kMost ||
      layout.columns > kMost) {
    throw OptionError("a matrix of " + std::to_string(layout.rows) + " x " +
                      std::to_string(layout.columns) +
                      " has 2^31 entries or more on a rank; use at least " +
                      std::to_string(static_cast<std::int64_t>(entries / kMost) + 1) + " ranks");
  }
}

}  // namespace eigenscale
