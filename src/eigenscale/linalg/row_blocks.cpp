#include "eigenscale/linalg/row_blocks.h"

#include <algorithm>

#include "eigenscale/linalg/redistribute.h"

namespace eigenscale {

BlockCyclicLayout row_layout(const BlockCyclicLayout& other, const RowPartition& partition) {
  return {partition.rows(), other.columns, partition.block(),
          std::max<std::int64_t>(1, other.columns), other.grid->as_column()};
}

DistributedMatrix from_row_blocks(const torch::Tensor& own_rows, const RowPartition& partition,
                                  const BlockCyclicLayout& target) {
  auto local = empty_column_major(own_rows.size(0), own_rows.size(1), own_rows.scalar_type());
  local.copy_(own_rows);
  return redistribute(DistributedMatrix(row_layout(target, partition), local), target);
}

torch::Tensor to_row_blocks(const DistributedMatrix& matrix, const RowPartition& partition) {
  return redistribute(matrix, row_layout(matrix.layout(), partition)).local().contiguous();
}

}  // namespace eigenscale
