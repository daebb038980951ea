#pragma once

#include <torch/torch.h>

#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

/// The way of eigenvectors from a block-cyclic layout to rows, in one exchange that also orders and
/// turns them (linalg/eigenvector_rows.h has what needs no exchange).

/// [local] The largest entry of each column of `vectors` (doubles) in the rows that this rank has,
/// and the largest of its negative, 2 x columns; zeros for columns of which it has none.
torch::Tensor own_column_extremes(const DistributedMatrix& vectors);

/// [collective] Column c of `vectors` times signs[c] (double) becomes column places[c] (int64) of
/// `rows`, which are the own rows of `partition`, row-major; where that is below 0, none. What
/// stays on a rank is copied.
void deal_rows(const DistributedMatrix& vectors, const RowPartition& partition,
               const torch::Tensor& places, const torch::Tensor& signs, const torch::Tensor& rows);

}  // namespace eigenscale
