#include "eigenscale/spectral/whitening_rows.h"

#include <utility>

namespace eigenscale {

WhiteningRows::WhiteningRows(const Placement& placement, const std::string& data, double scale)
    : placement_(placement),
      source_(open_sample_source(placement.control(), data)),
      own_(*source_,
           RowPartition(source_->rows(), placement.control().size())
               .range(placement.control().rank()),
           scale),
      placed_(CarriedRows::To::kDevice, own_, placement),
      type_(source_->scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32) {}

RowStream WhiteningRows::stream(torch::ScalarType as, std::function<void(bool reading)> on_read,
                                std::int64_t piece_bytes) const {
  // Pieces are few and large, and their products outweigh reading: not ahead, half the memory.
  return {
      placement_.control(),
      placed_,
      {.type = as, .piece_bytes = piece_bytes, .read_ahead = false, .on_read = std::move(on_read)}};
}

}  // namespace eigenscale
