#pragma once

#include <torch/torch.h>

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>

#include "eigenscale/cluster/presets.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/linalg/process_grid.h"

namespace eigenscale {

/// [collective] |C| made symmetric: (|C| + |C|^T) / 2 in double and square blocks on `grid`: the
/// affinity without any post-processing.
DistributedMatrix raw_affinity(const DistributedMatrix& coefficients,
                               std::shared_ptr<const ProcessGrid> grid);

struct SmoothedAffinity {
  DistributedMatrix matrix;
  std::string solver;
};

/// [collective] The paper's post-processing of the coefficients (Ji et al., NeurIPS 2017, authors'
/// code): columns cut at `threshold`, (C + C^T) / 2, its diagonal replaced by 1 where the settings
/// say so; the r = d K + 1 leading eigenpairs by magnitude; rows of U |S|^(1/2) to unit length;
/// A = max(Q Q^T, 0)^a divided by its maximum. N x N, double, square blocks on `grid`.
SmoothedAffinity smooth_affinity(const DistributedMatrix& coefficients,
                                 std::shared_ptr<const ProcessGrid> grid,
                                 const RowPartition& partition, const ClusteringSettings& settings,
                                 std::int64_t clusters, bool drop_diagonal);

/// [collective] The strongest |c_ij| outside the diagonal of each column, `neighbours` of them, to
/// the power a, made symmetric: (A + A^T) / 2 (Heckel and Boelcskei, Robust Subspace Clustering via
/// Thresholding, 2015, with coefficients instead of inner products). It asks for no dimension, and
/// holds where K subspaces together span more than the space, whose coefficients have too low a
/// rank for K d leading eigenpairs. Scaled so that the largest |c_ij| counts 1. N x N, double,
/// square blocks on `grid`.
DistributedMatrix neighbour_affinity(const DistributedMatrix& coefficients,
                                     std::shared_ptr<const ProcessGrid> grid,
                                     std::int64_t neighbours, double power);

/// [collective] (M + M^T) / 2 in double and square blocks on `grid`.
DistributedMatrix symmetric_part(const DistributedMatrix& matrix,
                                 std::shared_ptr<const ProcessGrid> grid);

/// [collective] A = max(Q Q^T, 0)^a divided by its maximum, for unit rows Q (own rows as
/// `partition` says, double): n x n, double, square blocks on `grid`.
DistributedMatrix cosine_affinity(const torch::Tensor& rows, const RowPartition& partition,
                                  std::shared_ptr<const ProcessGrid> grid, double power);

/// The block size of the N x N matrices of the spectral phase on a grid.
BlockCyclicLayout spectral_layout(std::int64_t samples, std::shared_ptr<const ProcessGrid> grid);

/// [local] Sets the diagonal entries that this rank owns.
void set_diagonal(DistributedMatrix& matrix, double value);

}  // namespace eigenscale
