#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {

/// The samples of a run, split into one block of rows per rank.
struct Samples {
  RowPartition partition;
  /// The rows of this rank, n_p x shape; a rank may own none.
  torch::Tensor rows;
  /// Shape of one sample, without the leading N.
  std::vector<std::int64_t> shape;
};

/// [collective] Reads each rank's rows of `specification` (see open_sample_source) as floating
/// point `type`. Values are multiplied by `scale` when it is not 1, and never otherwise changed.
/// Memory beyond the result is a bounded chunk. InputError (agreed): no samples, or a value that is
/// not finite; names file, row and element.
Samples load_samples(const Communicator& communicator, const std::string& specification,
                     torch::ScalarType type, double scale = 1);
/// [collective] The same from several files, one behind the other (see open_sample_sources).
Samples load_samples(const Communicator& communicator,
                     const std::vector<std::string>& specifications, torch::ScalarType type,
                     double scale = 1);

/// [local] The rows of `range` as floating point `type`, range.size() x shape, checked and scaled
/// as above, through a bounded chunk. `known_finite` says that they were read so before, and leaves
/// out the check. InputError.
torch::Tensor read_samples(const SampleSource& source, RowRange range, torch::ScalarType type,
                           double scale = 1, bool known_finite = false);

/// [local] InputError when samples of `shape` are single numbers (an array of shape N): that is
/// rather a list of labels than data. N x 1 says that it is meant.
void require_vectors(const std::vector<std::int64_t>& shape, const std::string& name);

}  // namespace eigenscale
