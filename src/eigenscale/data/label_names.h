#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// Reference labels, of which only matters which are equal: 20240101 and 3 are two names.
struct LabelNames {
  /// This rank's, int64: places in `names`, -1 for a sample without a class (an outlier).
  torch::Tensor indices;
  /// The labels that occur, ascending, without -1.
  std::vector<std::int64_t> names;
};

/// Labels that may occur: metrics match each of them with a cluster, in time of its cube.
constexpr std::int64_t kMostLabelNames = 2000;

/// [collective] The labels of this rank's rows of `partition` from files (one behind the other)
/// that hold one whole number per sample. InputError (agreed) as load_labels, but any whole number
/// is a label; also when more than kMostLabelNames different ones occur, or none but -1.
LabelNames load_label_names(const Communicator& communicator,
                            const std::vector<std::string>& specifications,
                            const RowPartition& partition);

/// [collective] The same for labels that have been read; `source` is for the message.
LabelNames name_labels(const Communicator& communicator, const torch::Tensor& labels,
                       const std::string& source);

}  // namespace eigenscale
