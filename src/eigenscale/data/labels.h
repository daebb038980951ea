#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {

enum class LabelRule { kNotNegative, kAnyWholeNumber };

/// [collective] The labels of this rank's rows of `partition`, int64, from a source that holds one
/// number per sample, shape N or N x 1, of any type. InputError (agreed) when there are more or
/// fewer than samples, or when one is not a whole number or against the rule.
torch::Tensor read_labels(const Communicator& communicator, const SampleSource& source,
                          const RowPartition& partition, LabelRule rule);

/// [collective] The same from files, one behind the other (see open_sample_source); not negative.
torch::Tensor load_labels(const Communicator& communicator,
                          const std::vector<std::string>& specifications,
                          const RowPartition& partition);
torch::Tensor load_labels(const Communicator& communicator, const std::string& specification,
                          const RowPartition& partition);

}  // namespace eigenscale
