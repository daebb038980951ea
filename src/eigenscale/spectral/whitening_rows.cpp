#include "eigenscale/spectral/whitening_rows.h"

#include <utility>

namespace eigenscale {

WhiteningRows::WhiteningRows(const Communicator& world, const std::string& data, double scale)
    : world_(world),
      source_(open_sample_source(world, data)),
      own_(*source_, RowPartition(source_->rows(), world.size()).range(world.rank()), scale),
      type_(source_->scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32) {}

RowStream WhiteningRows::stream(torch::ScalarType as,
                                std::function<void(bool reading)> on_read) const {
  // Pieces are few and large, and their products outweigh reading: not ahead, half the memory.
  return {world_,
          own_,
          {.type = as,
           .piece_bytes = kWhiteningPieceBytes,
           .read_ahead = false,
           .on_read = std::move(on_read)}};
}

}  // namespace eigenscale
