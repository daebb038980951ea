#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// [collective] Global indices of the `count` rows with the largest (or smallest) values over all
/// ranks, the most extreme first, the lower index first among equals; fewer when there are fewer
/// rows. `values` are this rank's, float32; rows of a negative one are left out. Its first row has
/// index `first_row`.
std::vector<std::int64_t> extreme_rows(const Communicator& communicator, std::int64_t first_row,
                                       const torch::Tensor& values, std::int64_t count,
                                       bool largest);

}  // namespace eigenscale
