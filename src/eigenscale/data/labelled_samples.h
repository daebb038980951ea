#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// Samples with their classes, split into one block of rows per rank; both as in their files, so
/// that a byte stays a byte until it is needed.
struct LabelledSamples {
  RowPartition partition;
  torch::Tensor rows;    ///< this rank's, n_p x shape: uint8 or float32 or float64
  torch::Tensor labels;  ///< this rank's, n_p, int64; undefined on all ranks where there are none
  std::vector<std::int64_t> shape;
  std::string data;  ///< where they came from, for messages
  std::string labels_name;

  std::int64_t count() const { return partition.rows(); }
};

/// [collective] Reads each rank's block of both files. Samples of type uint8 stay that, others
/// become float32 (float64 if they are). InputError (agreed) as load_samples,
/// require_vectors and load_labels.
LabelledSamples load_labelled_samples(const Communicator& communicator, const std::string& data,
                                      const std::string& labels);

/// [collective] The same from several files each, one behind the other.
LabelledSamples load_labelled_samples(const Communicator& communicator,
                                      const std::vector<std::string>& data,
                                      const std::vector<std::string>& labels);

/// [collective] The largest label.
std::int64_t largest_label(const Communicator& communicator, const LabelledSamples& samples);

/// [collective] InputError (agreed) naming file and row of the first label that is `classes` or
/// more.
void require_labels_below(const Communicator& communicator, const LabelledSamples& samples,
                          std::int64_t classes);

}  // namespace eigenscale
