#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

struct SpectralEmbedding {
  /// This rank's rows, n_p x K, double: the K leading eigenvectors of D^(-1/2) A D^(-1/2).
  torch::Tensor rows;
  /// The leading eigenvalues, descending: K and some more, to show the gap. On all ranks.
  torch::Tensor eigenvalues;
  /// Samples without any affinity; their rows are zero.
  std::int64_t isolated = 0;
  /// Eigenvalues that equal 1 to rounding: the connected parts of the affinity, as far as counted.
  std::int64_t components = 0;
  std::string solver;
};

/// [collective] Normalised spectral embedding (Ng, Jordan, Weiss 2002; Shi and Malik 2000) of a
/// symmetric, non-negative N x N affinity in square blocks, which is left as it was but for
/// rounding (it is scaled in place and back). Self-affinities do not count. A sample of zero degree
/// is kept out instead of dividing by zero.
SpectralEmbedding spectral_embedding(DistributedMatrix affinity, const RowPartition& partition,
                                     std::int64_t clusters);

}  // namespace eigenscale
