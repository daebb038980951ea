#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "eigenscale/comm/placement.h"
#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

/// Which eigenpairs are wanted, and how many.
struct EigenRange {
  enum class Kind { kAll, kLargest, kSmallest, kLargestMagnitude };
  Kind kind = Kind::kAll;
  std::int64_t count = 0;

  static EigenRange all() { return {Kind::kAll, 0}; }
  static EigenRange largest(std::int64_t count) { return {Kind::kLargest, count}; }
  static EigenRange smallest(std::int64_t count) { return {Kind::kSmallest, count}; }
  static EigenRange largest_magnitude(std::int64_t count) {
    return {Kind::kLargestMagnitude, count};
  }
};

enum class EigenSolver { kAutomatic, kLapack, kScalapack, kElpaOneStage, kElpaTwoStage, kDevice };

struct EigenOptions {
  EigenSolver solver = EigenSolver::kAutomatic;
  /// Of two ranks on one host the first may solve it with the threads of both, where that is faster
  /// and the matrix small enough (linalg/eigen_backends.h): it then holds all of the matrix, which
  /// not everyone who asks has promised memory for.
  bool one_rank = false;
  /// Where it is on a device, the first rank may solve it there (the same file says which size); it
  /// then holds all of the matrix on its host, too.
  std::optional<Placement> placement = std::nullopt;
  /// Also compute `residual` and `orthogonality`: two more products.
  bool verify = false;
};

struct EigenDecomposition {
  /// Descending (smallest: ascending; largest magnitude: by descending |l|); double, on all ranks.
  torch::Tensor values;
  /// Own rows of the vectors, n_p x count, row-major, rows cut as RowPartition(n, ranks); columns
  /// in the order of `values`; the entry of largest magnitude in each is positive.
  torch::Tensor vectors;
  /// What was chosen, to be printed.
  std::string solver;
  /// max |A v - l v| / max |l| and max |V^T V - I|, when verified.
  double residual = 0;
  double orthogonality = 0;
};

/// [collective] The one door to dense symmetric eigenproblems: picks LAPACK (one rank, or one of
/// two where that is allowed), cuSOLVER (where that is), ELPA's one- or two-stage solver or
/// ScaLAPACK's pdsyevd by size, share of vectors wanted and grid. `matrix` is double, n x n, both
/// triangles filled, any layout; it is left intact. Spectral work is in double. Throws, on all
/// ranks: NumericalError for entries that are not finite or no convergence; OptionError when this
/// build or grid cannot solve it.
EigenDecomposition symmetric_eigen(const DistributedMatrix& matrix, EigenRange range,
                                   const EigenOptions& options = {});

/// [collective] Whether `one_rank` would let the first of these ranks solve such a problem of size
/// n alone. Who sums the matrix can then do so there, in one block.
bool first_rank_solves(std::int64_t n, EigenRange range, const Communicator& all);

/// From this size on the eigenproblem of a tensor on a device is solved there; a smaller one is
/// faster through the host's memory (docs/gpu.md has the measurement).
constexpr std::int64_t kSmallestOnDevice = 160;

/// What crosses between host and device for it is counted under this name.
constexpr const char* kEigenproblems = "eigenproblems";

/// [local] The `leading` largest pairs (below 0: all) of an n x n symmetric double tensor on this
/// rank alone: by LAPACK, or by cuSOLVER where it lies on a device. The result lies where the
/// tensor does. Throws NumericalError as above, and c10::OutOfMemoryError.
EigenDecomposition symmetric_eigen(const torch::Tensor& matrix, std::int64_t leading = -1);

/// [local] The solvers of this build, in words.
std::vector<std::string> eigen_solvers();

/// [local] The two-stage kernels this build's ELPA offers for real matrices; empty without ELPA.
std::vector<std::string> elpa_kernels();

}  // namespace eigenscale
