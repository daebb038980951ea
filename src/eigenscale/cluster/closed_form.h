#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>

#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/linalg/process_grid.h"

namespace eigenscale {

struct ClosedFormCoefficients {
  /// N x N, double, square blocks on the grid; the diagonal is as the formula gives it.
  DistributedMatrix matrix;
  /// Singular values of Z, descending: min(N, d) of them, on all ranks.
  torch::Tensor singular_values;
  double ridge = 0;
};

/// [collective] The minimiser C = Z (Z^T Z + g I)^-1 Z^T of ||Z - C Z||^2 + g ||C||^2 (Haeffele,
/// You, Vidal, ICLR 2021), by the eigenproblem of the smaller of Z^T Z and Z Z^T. g = 0.01 times
/// the mean of the `leading` largest eigenvalues of Z^T Z. `rows` are the own samples, n_p x d.
ClosedFormCoefficients closed_form(const torch::Tensor& rows, const RowPartition& partition,
                                   std::shared_ptr<const ProcessGrid> grid, std::int64_t leading);

/// [collective] Z Z^T, N x N, double, square blocks on the grid: to scale, the closed form as its
/// ridge g grows beyond all bounds.
DistributedMatrix inner_products(const torch::Tensor& rows, const RowPartition& partition,
                                 std::shared_ptr<const ProcessGrid> grid);

}  // namespace eigenscale
