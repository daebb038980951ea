#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "eigenscale/cluster/subspace_model.h"
#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// [local] The leading directions of each subspace as images, a row of them per cluster, uint8 H x
/// W (x 3): grey is zero, white and black the largest values. `shape` is {C, H, W}. Undefined when
/// the rows are no images or an encoder stands between.
torch::Tensor direction_pictures(const SubspaceModel& model,
                                 const std::vector<std::int64_t>& shape);

/// [collective] The rows with the smallest residuals (first line) and the largest (second) as
/// images, as above; undefined when rows are no images.
torch::Tensor residual_pictures(const Communicator& world, const RowPartition& partition,
                                const RowProvider& raw, const torch::Tensor& residuals,
                                const std::vector<std::int64_t>& shape);

}  // namespace eigenscale
