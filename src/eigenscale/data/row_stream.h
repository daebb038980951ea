#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/row_provider.h"

namespace eigenscale {

struct RowStreamOptions {
  /// Of the rows handed out: float32 or float64.
  torch::ScalarType type = torch::kFloat32;
  /// Bytes of one piece. With reading ahead two pieces are held.
  std::int64_t piece_bytes = std::int64_t{16} << 20;
  /// A thread reads the next piece while the present one is worked on. Where the provider must be
  /// alone (HDF5), pieces are read one by one all the same.
  bool read_ahead = true;
  /// Is told when waiting for a piece begins (true) and ends (false).
  std::function<void(bool reading)> on_read = {};
};

/// Bytes that a rank reads between two agreements, in pieces that are smaller.
constexpr std::int64_t kAgreedBytes = std::int64_t{32} << 20;

/// Consecutive rows of a rank, `range` counted from its first; `rows` is range.size() x features.
struct RowPiece {
  RowRange range;
  torch::Tensor rows;
};

/// The rows of all ranks, walked through again and again a piece at a time, so that their number is
/// limited by the disk. Borrows communicator and provider.
class RowStream {
 public:
  using PieceWork = std::function<void(const RowPiece& piece)>;

  /// [collective]
  RowStream(const Communicator& communicator, const RowProvider& provider,
            RowStreamOptions options);

  /// Rows of all ranks.
  std::int64_t rows() const { return rows_; }
  std::int64_t own_rows() const { return provider_.rows(); }
  std::int64_t features() const { return provider_.features(); }
  /// What the numbers of the pieces are.
  torch::ScalarType type() const { return options_.type; }
  /// Rows of the largest piece, at least 1.
  std::int64_t piece_rows() const { return piece_rows_; }

  /// [collective] Calls `work`, which may be collective, with each piece of this rank's rows, in
  /// order and as often on every rank: ranks with fewer rows get pieces without rows at the end.
  /// InputError (agreed) as read_samples.
  void for_each_piece(const PieceWork& work) const;

  /// [collective] The same for work that is local: a rank gets its own pieces and no empty ones,
  /// and the ranks agree only every kAgreedBytes, so that pieces may be small. InputError (agreed),
  /// also of what `work` throws.
  void for_each_own_piece(const PieceWork& work) const;

 private:
  void walk(std::int64_t first, std::int64_t last, const PieceWork& work,
            const std::function<void(const std::function<void()>& read)>& guarded) const;

  const Communicator& communicator_;
  const RowProvider& provider_;
  RowStreamOptions options_;
  std::int64_t row_bytes_ = 1;
  std::int64_t rows_ = 0;
  std::int64_t piece_rows_ = 1;
  std::int64_t own_pieces_ = 0;
  std::int64_t most_pieces_ = 0;
};

}  // namespace eigenscale
