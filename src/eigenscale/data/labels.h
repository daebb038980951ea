#pragma once

#include <torch/torch.h>

#include <string>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// [collective] The labels of this rank's rows of `partition`, int64. `specification` (see
/// open_sample_source) holds one number per sample, shape N or N x 1, of any type. InputError
/// (agreed) when there are more or fewer than samples, or when one is negative or not an integer.
torch::Tensor load_labels(const Communicator& communicator, const std::string& specification,
                          const RowPartition& partition);

}  // namespace eigenscale
