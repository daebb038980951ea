#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>

#include "eigenscale/comm/placement.h"
#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/linalg/symmetric_eigen.h"

namespace eigenscale {

/// Eigenpairs as a backend leaves them: values ascending.
struct LocalEigenpairs {
  torch::Tensor values;   ///< count
  torch::Tensor vectors;  ///< n x count, column-major
};

/// [local] LAPACK: dsyevd for all pairs of up to 32,765, otherwise one tridiagonal reduction, all
/// eigenvalues, and the vectors of the wanted ends alone (dsytrd, dsterf, dstemr, dormtr). `matrix`
/// (n x n, column-major) is destroyed. Throws NumericalError.
LocalEigenpairs lapack_eigen(torch::Tensor matrix, EigenRange range);

/// [local] How many pairs of an n x n matrix it returns: those of `range`, or all.
std::int64_t lapack_pairs(std::int64_t n, EigenRange range);

/// [local] The same without dsyevd, whose work space grows with n^2, for any range.
LocalEigenpairs lapack_eigen_tridiagonal(torch::Tensor matrix, EigenRange range);

/// Distributed eigenpairs, values ascending; the vectors lie as the matrix does (but those of
/// one_rank_eigen and device_eigen), columns beyond the number of values are unspecified.
struct DistributedEigenpairs {
  torch::Tensor values;
  DistributedMatrix vectors;
};

/// [local] Whether the first of so many ranks would find this share of the pairs of n x n sooner
/// alone, with the threads of all: two ranks, n from 900 (10 % and less: 600; 5 %: 500) to 4,096.
bool one_rank_is_faster(std::int64_t n, double share, std::int64_t ranks);

/// [local] Whether the memory for it is more than is taken to be there, 64 MiB: then it is asked
/// for.
bool asks_for_memory(std::int64_t n);

/// [collective] Whether the first rank can solve it for all: they share a host, and the matrix, at
/// most 4,096 x 4,096, fits four times into what each rank may still take of the memory.
bool one_rank_can_solve(std::int64_t n, const Communicator& all);

/// [collective] LAPACK on the first rank, with the threads of all (comm/threads.h) while the others
/// sleep. Values and vectors are on that rank alone, in one block: elsewhere the values are
/// zeros. `matrix` is let go of once it is gathered. Throws NumericalError, agreed.
DistributedEigenpairs one_rank_eigen(DistributedMatrix matrix, EigenRange range);

/// [local] libtorch's linalg_eigh, which is cuSOLVER for a matrix on a device: all pairs of a
/// symmetric one, of which it reads the triangle "L" or "U". They lie where the matrix does. Throws
/// NumericalError, but c10::OutOfMemoryError where the device's memory does not do.
LocalEigenpairs cusolver_eigen(const torch::Tensor& matrix, const char* triangle = "L");

/// [collective] Whether the first rank solves it on its device: n from `kSmallestOnDevice` to
/// 8,192, for which its device needs some 4 GiB, and memory on its host as above.
bool device_solves(std::int64_t n, const Placement& placement);

/// [collective] cuSOLVER on the device of the first rank. `matrix` is on the host, and so are the
/// pairs, at least those of `range`, on that rank alone, as above; nothing, on all ranks, where the
/// device's memory does not do. Throws NumericalError, agreed.
std::optional<DistributedEigenpairs> device_eigen(const DistributedMatrix& matrix, EigenRange range,
                                                  const Placement& placement);

/// [collective] ScaLAPACK's pdsyevd: all pairs. `matrix` (square blocks) is destroyed. Throws
/// NumericalError, agreed, and as below.
DistributedEigenpairs scalapack_eigen(DistributedMatrix matrix);

/// [local] OptionError, the same on all ranks, when pdsyevd's work space has 2^31 numbers or more
/// on a rank, which its 32-bit arguments cannot tell; names the ranks that would do.
void require_scalapack_workspace(const BlockCyclicLayout& layout);

/// [collective] ELPA: the `count` smallest pairs. `matrix` (square blocks) is destroyed. Throws
/// NumericalError, agreed, when it fails on any rank.
DistributedEigenpairs elpa_eigen(DistributedMatrix matrix, std::int64_t count, bool two_stage);

/// [local] How many pairs of an n x n matrix the door has ELPA find: those of `range`, of either
/// end where magnitude decides, or all.
std::int64_t elpa_pairs(std::int64_t n, EigenRange range);

/// [local] Whether this build has ELPA and it can work on this layout.
bool elpa_can_solve(const BlockCyclicLayout& layout);

}  // namespace eigenscale
