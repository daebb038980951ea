#include "eigenscale/spectral/whitening_rows.h"

#include <algorithm>
#include <utility>

namespace eigenscale {

std::int64_t moments_piece_bytes(std::int64_t features, std::int64_t value_bytes) {
  constexpr std::int64_t kCached = std::int64_t{1} << 20;
  constexpr std::int64_t kFewestRows = 64;
  return std::clamp(kFewestRows * features * value_bytes, kCached, kWhiteningPieceBytes);
}

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
  // Products of large pieces outweigh reading them, and small ones are not worth a thread: not
  // ahead, half the memory.
  return {
      placement_.control(),
      placed_,
      {.type = as, .piece_bytes = piece_bytes, .read_ahead = false, .on_read = std::move(on_read)}};
}

RowStream WhiteningRows::stream_for_moments(torch::ScalarType as,
                                            std::function<void(bool reading)> on_read) const {
  // A device adds up large pieces sooner.
  const auto bytes =
      placement_.on_device()
          ? kWhiteningPieceBytes
          : moments_piece_bytes(features(), static_cast<std::int64_t>(torch::elementSize(as)));
  return stream(as, std::move(on_read), bytes);
}

}  // namespace eigenscale
