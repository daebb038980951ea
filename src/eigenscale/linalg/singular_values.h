#pragma once

#include <torch/torch.h>

#include <memory>

#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

/// [collective] A A^T or A^T A of the row-distributed matrix A (own rows n_p x d), whichever is
/// smaller, in double and square blocks on the grid.
DistributedMatrix smaller_gram(const DistributedMatrix& matrix);

/// [collective] Singular values of the N x d matrix whose rows lie as `partition` says, descending;
/// min(N, d) of them on all ranks. Through the smaller Gram matrix, so values below 1e-8 of the
/// largest are noise.
torch::Tensor singular_values(const torch::Tensor& own_rows, const RowPartition& partition,
                              const std::shared_ptr<const ProcessGrid>& grid);

}  // namespace eigenscale
