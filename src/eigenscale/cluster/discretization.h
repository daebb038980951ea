#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// Labels of this rank's rows (int64 in 0 .. K-1) and what the assignment minimises.
struct Assignment {
  torch::Tensor labels;
  double objective = 0;
};

struct DiscretizationOptions {
  std::int64_t starts = 20;
  std::int64_t most_iterations = 100;
  std::uint64_t seed = 1;
};

/// [collective] Multiclass spectral clustering by discretisation (Yu and Shi, ICCV 2003): rotates
/// the row-normalised embedding until it is closest to an indicator matrix, alternating the
/// assignment of rows and the orthogonal rotation, from several seeded starts at once; the start
/// with the smallest normalised-cut relaxation error N - trace wins. No cluster stays empty while
/// there are rows to fill it. `embedding` is this rank's
/// n_p x K rows, double. One K x K sum over ranks an iteration and start.
Assignment discretize(const Communicator& communicator, const RowPartition& partition,
                      const torch::Tensor& embedding, const DiscretizationOptions& options);

/// [local] Rows scaled to unit length; rows of zeros stay.
torch::Tensor normalize_rows(const torch::Tensor& rows);

}  // namespace eigenscale
