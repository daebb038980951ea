#pragma once

#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

/// [collective] op(A) op(B) with op the transpose where asked, on the grid both live on, in the
/// blocks of A's rows and B's columns after op; same element type (float or double). One rank uses
/// BLAS through torch, more ranks ScaLAPACK's p?gemm. OptionError in builds without ScaLAPACK on
/// more than one rank.
DistributedMatrix multiply(const DistributedMatrix& a, const DistributedMatrix& b,
                           bool transpose_a = false, bool transpose_b = false);

}  // namespace eigenscale
