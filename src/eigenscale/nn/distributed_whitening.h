#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>

#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/linalg/process_grid.h"

namespace eigenscale {

/// ZCA whitening of so many channels that no rank may hold channels x channels numbers: covariance,
/// its inverse root and their gradients are distributed matrices, and the samples travel to them.

struct DistributedWhitening {
  torch::Tensor output;      ///< C x own samples, with a gradient
  torch::Tensor mean;        ///< C x 1, double
  torch::Tensor covariance;  ///< this rank's block of C x C without epsilon, column-major double
};

/// [collective] (S + e I)^(-1/2) (X - mean) of `columns`, C x own samples, maybe none; e is
/// `epsilon`, times trace(S) / C when `relative`. Backward is collective, too. Throws what
/// symmetric_eigen throws.
DistributedWhitening distributed_whitening(const std::shared_ptr<const ProcessGrid>& grid,
                                           const torch::Tensor& columns, double epsilon,
                                           bool relative);

/// [collective] (S + e I)^(-1/2) for a given block of the covariance of so many channels.
DistributedMatrix whitening_matrix(const std::shared_ptr<const ProcessGrid>& grid,
                                   const torch::Tensor& covariance, std::int64_t channels,
                                   double epsilon, bool relative);

/// [collective] The same map for a given matrix and mean (C x 1), without a gradient to them or to
/// `columns`.
torch::Tensor whiten_by(const DistributedMatrix& matrix, const torch::Tensor& columns,
                        const torch::Tensor& mean);

}  // namespace eigenscale
