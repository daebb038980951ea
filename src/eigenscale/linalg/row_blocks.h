#pragma once

#include <torch/torch.h>

#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

/// [collective] The block-cyclic name of a cut into contiguous row blocks, of a matrix as wide and
/// on the same ranks as `other`: a P x 1 grid.
BlockCyclicLayout row_layout(const BlockCyclicLayout& other, const RowPartition& partition);

/// [collective] A matrix whose rows lie on the ranks as `partition` says (own rows, n_p x columns)
/// in layout `target`.
DistributedMatrix from_row_blocks(const torch::Tensor& own_rows, const RowPartition& partition,
                                  const BlockCyclicLayout& target);

/// [collective] The way back: this rank's rows, n_p x columns, row-major.
torch::Tensor to_row_blocks(const DistributedMatrix& matrix, const RowPartition& partition);

}  // namespace eigenscale
