#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

/// [collective] The mean of a symmetric N x N matrix over cells of neighbouring samples, the
/// samples in the order of their cluster: min(N, cells)^2 floats on every rank. `labels` are those
/// of all samples. A good clustering shows as blocks on the diagonal.
torch::Tensor affinity_picture(const DistributedMatrix& affinity, const torch::Tensor& labels,
                               std::int64_t cells);

}  // namespace eigenscale
