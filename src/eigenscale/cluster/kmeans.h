#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/cluster/discretization.h"
#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

struct KmeansOptions {
  std::int64_t clusters = 2;
  std::int64_t restarts = 10;
  std::int64_t most_iterations = 300;
  std::uint64_t seed = 1;
};

/// [collective] k-means on the rows of all ranks: k-means++ starts (Arthur and Vassilvitskii, SODA
/// 2007) drawn by an exponential race, so that the draw does not depend on how rows are split;
/// Lloyd's iterations in double, all restarts batched into one sum over ranks each; an empty
/// cluster takes the row farthest from its centre. `rows` is n_p x d, any floating type. The
/// objective is the sum of squared distances.
Assignment kmeans(const Communicator& communicator, const RowPartition& partition,
                  const torch::Tensor& rows, const KmeansOptions& options);

}  // namespace eigenscale
