#pragma once

#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

/// [collective] Whether A + `shift` I has a Cholesky factor, so that its eigenvalues are positive
/// to rounding (n 2^-53 of the largest): a third of n^3 operations, where eigenvalues take four
/// times as many at a fraction of the speed. `matrix` is double, n x n in square blocks, its lower
/// triangle filled; it is left intact.
bool is_positive_definite(const DistributedMatrix& matrix, double shift = 0);

}  // namespace eigenscale
