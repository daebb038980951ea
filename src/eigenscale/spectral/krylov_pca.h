#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/row_stream.h"

namespace eigenscale {

struct KrylovPcaOptions {
  std::int64_t components = 1;
  /// Columns of a block beyond the components (Halko, Martinsson, Tropp, SIAM Review 2011).
  std::int64_t oversampling = 10;
  /// Blocks of the Krylov space at most, one pass over the rows each.
  std::int64_t blocks = 4;
  /// No further block once every variance is known to so much of itself: by its residual and the
  /// gaps between variances, or since the last block changed it by less than half of that. 0: all
  /// blocks.
  double tolerance = 0;
  std::uint64_t seed = 1;
};

struct LeadingComponents {
  torch::Tensor eigenvalues;  ///< k variances, descending, double, on all ranks
  torch::Tensor vectors;      ///< D_p x k, double: this rank's features as RowPartition(D, P) cuts
  /// ||S v - l v|| / l_1 of each component, on all ranks: the distance of l / l_1 to an exact
  /// eigenvalue is at most this.
  torch::Tensor residuals;
  double total_variance = 0;  ///< trace of the covariance
  std::int64_t passes = 0;
};

/// [collective] The `components` leading eigenpairs of the covariance S = sum (x - mean)(x -
/// mean)^T / N without forming it: block Lanczos from a random start with full reorthogonalisation,
/// whose space is that of the randomised block Krylov method (Musco and Musco, NeurIPS 2015), and
/// the Ritz pairs on it. One pass over the rows for each block; products of a piece in the type of
/// its rows, sums of pieces in double, and all that is small in double. `mean` is D doubles on all
/// ranks.
///
/// A rank holds three matrices of D x (k + oversampling), two of them in the type of the rows, and
/// D / P rows of one of `blocks` times that; nothing of D x D or N x k. The same on any number of
/// ranks up to the rounding of the products (tests/spectral/krylov_pca_test.cpp states the bound).
/// The rows lie as `placement` says; all but their products is done on the host.
/// InputError (agreed) when more components are asked than min(N, D).
LeadingComponents leading_components(const Placement& placement, const RowStream& stream,
                                     const torch::Tensor& mean, const KrylovPcaOptions& options);

/// [collective] The orthonormal factor of `own_rows` (n_p x l, stacked over ranks, l at most their
/// number): Householder QR on each rank and of the triangles of all. Stable for any condition;
/// columns that depend on others become arbitrary orthonormal ones.
torch::Tensor orthonormal_columns(const Communicator& communicator, const torch::Tensor& own_rows);

}  // namespace eigenscale
