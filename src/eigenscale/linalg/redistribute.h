#pragma once

#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

/// [collective over all ranks of the grids] The same matrix in another layout, on any grid of the
/// same ranks. Rows that one rank has and another wants, times columns alike, form one rectangle
/// per pair of ranks: each is packed, all travel in one all-to-all, and each is put in its place.
/// Needs the source's and the target's local parts twice.
DistributedMatrix redistribute(const DistributedMatrix& matrix, const BlockCyclicLayout& target);

/// [collective] The transposed matrix in layout `target`, the same way.
DistributedMatrix redistribute_transposed(const DistributedMatrix& matrix,
                                          const BlockCyclicLayout& target);

}  // namespace eigenscale
