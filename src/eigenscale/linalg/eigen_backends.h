#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/linalg/symmetric_eigen.h"

namespace eigenscale {

/// Eigenpairs as a backend leaves them: values ascending.
struct LocalEigenpairs {
  torch::Tensor values;   ///< count
  torch::Tensor vectors;  ///< n x count, column-major
};

/// [local] LAPACK: dsyevd for all pairs, otherwise one tridiagonal reduction, all eigenvalues, and
/// the vectors of the wanted ends alone (dsytrd, dsterf, dstemr, dormtr). `matrix` (n x n,
/// column-major) is destroyed. Throws NumericalError.
LocalEigenpairs lapack_eigen(torch::Tensor matrix, EigenRange range);

/// Distributed eigenpairs, values ascending; the vectors lie as the matrix does, columns beyond the
/// number of values are unspecified.
struct DistributedEigenpairs {
  torch::Tensor values;
  DistributedMatrix vectors;
};

/// [collective] ScaLAPACK's pdsyevd: all pairs. `matrix` (square blocks) is destroyed.
DistributedEigenpairs scalapack_eigen(DistributedMatrix matrix);

/// [collective] ELPA: the `count` smallest pairs. `matrix` (square blocks) is destroyed.
DistributedEigenpairs elpa_eigen(DistributedMatrix matrix, std::int64_t count, bool two_stage);

/// [local] Whether this build has ELPA and it can work on this layout.
bool elpa_can_solve(const BlockCyclicLayout& layout);

}  // namespace eigenscale
