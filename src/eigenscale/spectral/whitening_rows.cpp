#include "eigenscale/spectral/whitening_rows.h"

#include <algorithm>
#include <utility>

namespace eigenscale {

WhiteningRows::WhiteningRows(const Communicator& world, const std::string& data, double scale)
    : world_(world),
      source_(open_sample_source(world, data)),
      own_(*source_, RowPartition(source_->rows(), world.size()).range(world.rank()), scale),
      type_(source_->scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32) {}

RowStream WhiteningRows::stream(bool low_rank, std::function<void(bool reading)> on_read) const {
  // Smaller pieces where the blocks of D x D are small, so that pieces never are most of the
  // memory.
  const std::int64_t beside_matrices = std::clamp(features() * features() / world_.size(),
                                                  kWhiteningPieceBytes / 2, kWhiteningPieceBytes);
  // Pieces are few and large, and their products outweigh reading: not ahead, half the memory.
  return {world_,
          own_,
          {.type = low_rank ? type_ : torch::kFloat64,
           .piece_bytes = low_rank ? kWhiteningPieceBytes : beside_matrices,
           .read_ahead = false,
           .on_read = std::move(on_read)}};
}

}  // namespace eigenscale
