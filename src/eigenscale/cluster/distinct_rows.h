#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// [local] The first of every group of equal rows of an n x d floating point tensor, in order,
/// until there are `most`. 0 and -0 are equal.
std::vector<std::int64_t> distinct_rows(const torch::Tensor& rows, std::int64_t most);

/// [collective] How many different rows all ranks have together, counted up to `most`. Every rank
/// sends at most so many.
std::int64_t count_distinct_rows(const Communicator& communicator, const torch::Tensor& rows,
                                 std::int64_t most);

}  // namespace eigenscale
