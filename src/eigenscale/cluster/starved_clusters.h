#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/data/row_provider.h"

namespace eigenscale {

/// [collective] A cluster with fewer rows (`sizes`, the same on all ranks) than its subspace has
/// dimensions takes as many rows as its basis has columns (`bases`, K x d x c, double, changed in
/// place; c >= `dimension`), those with the largest residuals over all ranks that are left, the
/// lower index first among equals; where rows are too few or too alike, unit vectors fill up.
/// `residuals` are this rank's; rows of a negative one are not taken. Returns how many clusters
/// there were; with none, nothing is sent.
std::int64_t refill_starved_clusters(const Communicator& communicator, const RowProvider& rows,
                                     std::int64_t first_row, const torch::Tensor& residuals,
                                     const torch::Tensor& sizes, std::int64_t dimension,
                                     const torch::Tensor& bases);

}  // namespace eigenscale
