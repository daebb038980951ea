#pragma once

#include <torch/torch.h>

#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

/// [collective] The lower triangle of a square matrix of doubles, all that LAPACK looks at of a
/// symmetric one: n x n, column-major, on the first rank, its upper triangle unspecified; 0 x 0
/// elsewhere. The first rank copies what it holds, the others send theirs.
torch::Tensor gathered_triangle(const DistributedMatrix& matrix);

}  // namespace eigenscale
