#include "eigenscale/data/row_stream.h"

#include <algorithm>
#include <future>
#include <utility>

#include "eigenscale/comm/agreement.h"

namespace eigenscale {

RowStream::RowStream(const Communicator& communicator, const RowProvider& provider,
                     RowStreamOptions options)
    : communicator_(communicator), provider_(provider), options_(std::move(options)) {
  row_bytes_ = std::max<std::int64_t>(provider.features(), 1) *
               static_cast<std::int64_t>(torch::elementSize(options_.type));
  const std::int64_t most_rows = all_reduce(communicator, provider.rows(), ReduceOp::kMax);
  rows_ = all_reduce(communicator, provider.rows());
  piece_rows_ = std::clamp<std::int64_t>(options_.piece_bytes / row_bytes_, 1,
                                         std::max<std::int64_t>(most_rows, 1));
  own_pieces_ = (provider.rows() + piece_rows_ - 1) / piece_rows_;
  most_pieces_ = (most_rows + piece_rows_ - 1) / piece_rows_;
}

void RowStream::for_each_piece(const PieceWork& work) const {
  walk(0, most_pieces_, work, [this](const auto& read) { on_all_ranks(communicator_, read); });
}

void RowStream::for_each_own_piece(const PieceWork& work) const {
  const std::int64_t together =
      std::max<std::int64_t>(1, kAgreedBytes / (piece_rows_ * row_bytes_));
  for (std::int64_t first = 0; first < most_pieces_; first += together) {
    on_all_ranks(communicator_, [&] {
      walk(std::min(first, own_pieces_), std::min(first + together, own_pieces_), work,
           [](const auto& read) { read(); });
    });
  }
}

void RowStream::walk(std::int64_t first, std::int64_t last, const PieceWork& work,
                     const std::function<void(const std::function<void()>& read)>& guarded) const {
  const auto range_of = [this](std::int64_t piece) {
    const std::int64_t begin = std::min(piece * piece_rows_, own_rows());
    return RowRange{begin, std::min(begin + piece_rows_, own_rows())};
  };
  // One piece alone is not worth a thread.
  const bool ahead = options_.read_ahead && own_pieces_ > 1 && provider_.reads_beside_others();
  const auto start = [&](std::int64_t piece) {
    const RowRange range = range_of(piece);
    return std::async(ahead ? std::launch::async : std::launch::deferred, [this, range, ahead] {
      if (ahead) {
        // The number of threads is per thread: this one must not take cores from the others.
        torch::set_num_threads(1);
      }
      return provider_.read(range, options_.type);
    });
  };
  // Dropped by an exception, a future waits for its read to end.
  std::future<torch::Tensor> next = first < last ? start(first) : std::future<torch::Tensor>();
  for (std::int64_t piece = first; piece < last; ++piece) {
    RowPiece current{range_of(piece), {}};
    if (options_.on_read) {
      options_.on_read(true);
    }
    // Waiting for ranks that still work on the piece before is not reading.
    guarded([&] {
      current.rows = next.get();
      if (options_.on_read) {
        options_.on_read(false);
      }
    });
    if (piece + 1 < last) {
      next = start(piece + 1);
    }
    work(current);
  }
}

}  // namespace eigenscale
