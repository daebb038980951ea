#include "eigenscale/spectral/row_stream.h"

#include <algorithm>
#include <utility>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/data/samples.h"

namespace eigenscale {

RowStream::RowStream(const Communicator& communicator, const SampleSource& source, double scale,
                     std::int64_t piece_bytes, std::function<void(bool reading)> on_read)
    : communicator_(communicator),
      source_(source),
      partition_(source.rows(), communicator.size()),
      scale_(scale),
      on_read_(std::move(on_read)) {
  for (const std::int64_t size : source.row_shape()) {
    features_ *= size;
  }
  const std::int64_t row_bytes = 8 * std::max<std::int64_t>(features_, 1);
  piece_rows_ = std::clamp<std::int64_t>(piece_bytes / row_bytes, 1,
                                         std::max<std::int64_t>(partition_.block(), 1));
}

void RowStream::for_each_piece(const std::function<void(const torch::Tensor& rows)>& work) const {
  const RowRange own = partition_.range(communicator_.rank());
  for (std::int64_t begin = 0; begin < partition_.block(); begin += piece_rows_) {
    const std::int64_t first = std::min(own.begin + begin, own.end);
    const RowRange piece{first, std::min(first + piece_rows_, own.end)};
    torch::Tensor rows;
    if (on_read_) {
      on_read_(true);
    }
    on_all_ranks(communicator_, [&] {
      rows = read_samples(source_, piece, torch::kFloat64, scale_).view({piece.size(), features_});
    });
    if (on_read_) {
      on_read_(false);
    }
    work(rows);
  }
}

}  // namespace eigenscale
