#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// [collective] The rows with these global indices, on every rank: indices x columns. A handful.
torch::Tensor fetch_rows(const Communicator& communicator, const RowPartition& partition,
                         const torch::Tensor& own_rows, const std::vector<std::int64_t>& indices);

/// [collective] For every column of this rank's n_p x S values the global row index of the
/// smallest one over all ranks; the lowest index wins a tie.
std::vector<std::int64_t> global_argmin(const Communicator& communicator,
                                        const RowPartition& partition,
                                        const torch::Tensor& own_values);

}  // namespace eigenscale
