#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "eigenscale/cluster/presets.h"
#include "eigenscale/cluster/spectral_embedding.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/process_grid.h"

namespace eigenscale {

/// From the codes of N samples on m landmarks to their spectral embedding without an N x N object:
/// what affinity.h and spectral_embedding.h do for coefficients of all on all, and the same numbers
/// up to rounding where every sample is a landmark.

/// Unit rows whose cosines are the affinities.
struct LandmarkCoordinates {
  torch::Tensor rows;       ///< of the own samples, n_p x r, double
  torch::Tensor landmarks;  ///< m x r, on all ranks
  std::string solver;
};

/// [collective] The post-processing of smooth_affinity for codes (own rows, n_p x m, which are
/// thresholded in place): rows cut at the settings' threshold times N / m (columns, at the
/// threshold itself, where m = N); (C_L + C_L^T) / 2 of the landmarks' own codes without what a
/// landmark has on itself, its r = d K + 1 largest eigenpairs U diag(l) U^T; coordinates
/// U |l|^(1/2) of the landmarks and, by Nyström's extension, c_i U diag(1 / l) |l|^(1/2) of the
/// others, to unit length. The eigenproblem is m x m and distributed.
LandmarkCoordinates landmark_coordinates(const torch::Tensor& codes,
                                         const std::vector<std::int64_t>& landmarks,
                                         const RowPartition& partition,
                                         std::shared_ptr<const ProcessGrid> grid,
                                         const ClusteringSettings& settings, std::int64_t clusters);

/// Affinities of own samples to the landmarks, for a range of own rows: double, rows x m, not
/// negative. [local]
using LandmarkAffinity = std::function<torch::Tensor(RowRange)>;

/// [local] max(q_i Q_L^T, 0)^power.
LandmarkAffinity cosine_affinity(const LandmarkCoordinates& coordinates, double power);

/// [collective] The normalised spectral embedding of the bipartite affinity B (N x m) of samples
/// and landmarks (Dhillon, KDD 2001; Chen and Cai, AAAI 2011): with D = B 1, L = 1^T B and
/// Bh = D^(-1/2) B L^(-1/2), the leading eigenpairs V diag(s) V^T of Bh^T Bh (m x m, distributed)
/// give the rows Bh V s^(-1/2). Self-affinities do not count. B is asked for thrice, some rows at a
/// time, and never held. For m = N, where B is to be symmetric, these are the eigenvectors of
/// D^(-1/2) B D^(-1/2); since the square hides the sign of eigenvalues it is solved itself then.
SpectralEmbedding landmark_embedding(const LandmarkAffinity& affinity,
                                     const std::vector<std::int64_t>& landmarks,
                                     const RowPartition& partition,
                                     std::shared_ptr<const ProcessGrid> grid,
                                     std::int64_t clusters);

}  // namespace eigenscale
