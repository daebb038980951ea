#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// Several k-means clusterings of the same rows, R restarts with K centres each.
struct LloydResult {
  torch::Tensor centres;  ///< R x K x d, double, in the coordinates of the rows
  torch::Tensor labels;   ///< R x n_p, int64
  torch::Tensor inertia;  ///< R: sum of squared distances to the centre, over all ranks
  std::int64_t iterations = 0;
};

/// Two inertias that differ by less, relatively, are equal: sums over ranks round differently.
constexpr double kInertiaTie = 1e-10;

/// [collective] Lloyd's iterations from `centres` (R x K x d, double) until no inertia falls any
/// more, all restarts in one pass over the rows and one sum over ranks an iteration. Rows (n_p x d,
/// any floating type) are taken in blocks, in double, less the mean of all rows, so that distances
/// do not cancel far from the origin; of equally near centres the first counts. A cluster without
/// rows takes the row farthest from its centre, and stays empty when every row lies on its centre:
/// there are fewer different rows than K.
LloydResult lloyd(const Communicator& communicator, const RowPartition& partition,
                  const torch::Tensor& rows, torch::Tensor centres, std::int64_t most_iterations);

}  // namespace eigenscale
