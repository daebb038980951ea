#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {

/// The samples of a file, read again and again a piece at a time, so that their number is limited
/// by the disk: every rank walks through its own rows, all in step. Borrows the source.
class RowStream {
 public:
  /// [collective] Pieces of up to `piece_bytes` of doubles a rank. `on_read` is told when reading
  /// begins (true) and ends.
  RowStream(const Communicator& communicator, const SampleSource& source, double scale,
            std::int64_t piece_bytes, std::function<void(bool reading)> on_read = {});

  std::int64_t rows() const { return partition_.rows(); }
  std::int64_t own_rows() const { return partition_.range(communicator_.rank()).size(); }
  std::int64_t features() const { return features_; }
  /// Rows of the largest piece of a rank.

  /// [collective] Calls `work`, which may be collective, with this rank's rows of each piece, m x D
  /// doubles, m maybe 0; as often on every rank. InputError (agreed) as load_samples.
  void for_each_piece(const std::function<void(const torch::Tensor& rows)>& work) const;

 private:
  const Communicator& communicator_;
  const SampleSource& source_;
  RowPartition partition_;
  double scale_;
  std::function<void(bool reading)> on_read_;
  std::int64_t features_ = 1;
  std::int64_t piece_rows_ = 1;
};

}  // namespace eigenscale
