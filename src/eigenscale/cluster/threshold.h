#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

/// [collective] Keeps in every *column* of `coefficients` the entries of largest magnitude until
/// they hold more than `share` of the column's L1 norm (Ji et al., NeurIPS 2017, authors' code),
/// the lower row first among equals; the rest becomes zero. With `drop_diagonal` diag(C) is cleared
/// before, as a closed-form C needs. The matrix is dealt out by whole columns for that and stays
/// so: the result is N x N on a 1 x P grid, so that each column is cut by one rank and no rounding
/// of a sum over ranks can sway what is kept. A column of zeros stays zero.
DistributedMatrix threshold_columns(const DistributedMatrix& coefficients, double share,
                                    bool drop_diagonal);

/// [collective] Keeps in every *column* the `count` entries of largest magnitude outside the
/// diagonal, the lower row first among equals; dealt out as by threshold_columns.
DistributedMatrix keep_neighbours(const DistributedMatrix& coefficients, std::int64_t count);

/// [local] The same in every *row* of a row-major n x m matrix, in place.
void threshold_rows(const torch::Tensor& rows, double share);

}  // namespace eigenscale
