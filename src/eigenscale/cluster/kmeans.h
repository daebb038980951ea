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
  /// Rows on which restarts compete; 0: 20,000 (fewer where they are wide, at least 20 a cluster).
  std::int64_t sample = 0;
};

/// [collective] k-means on the rows of all ranks: k-means++ starts (Arthur and Vassilvitskii, SODA
/// 2007) drawn by an exponential race, so that the draw does not depend on how rows are split, then
/// Lloyd's iterations (cluster/lloyd.h). Where there are more rows than `sample`, all restarts run
/// on that many rows, one drawn from each of as many equal stretches by (seed, stretch) alone, for
/// 50 iterations at most, and the best of them goes on over all rows, for 20 at most: in time one
/// restart, in memory the labels and distances of one. `rows` is n_p x d, any floating type; with
/// fewer different rows than K clusters stay empty. The objective is the sum of squared distances.
/// The number of ranks changes sums by rounding in double (1e-16 x the log of the rows, relatively)
/// and labels only of rows that are as near to two centres within that.
Assignment kmeans(const Communicator& communicator, const RowPartition& partition,
                  const torch::Tensor& rows, const KmeansOptions& options);

}  // namespace eigenscale
