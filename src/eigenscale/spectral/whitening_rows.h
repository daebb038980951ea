#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/device_rows.h"
#include "eigenscale/data/row_stream.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {

/// Bytes of a piece of rows, of one where all features are multiplied by a few vectors, and what a
/// rank needs for a piece and its copies in double. Every piece of these has products as long as
/// the vectors to be summed, so that it pays to have few of them.
constexpr std::int64_t kWhiteningPieceBytes = std::int64_t{32} << 20;
constexpr std::int64_t kComponentsPieceBytes = 2 * kWhiteningPieceBytes;
constexpr std::int64_t kWhiteningCopies = 12;

/// [local] Of a piece of rows that are only added up: a core's second cache holds it from reading
/// to adding, but at least 64 rows, beside which the sums are little, up to the bytes above.
std::int64_t moments_piece_bytes(std::int64_t features, std::int64_t value_bytes);

/// The samples that a whitening reads, a piece at a time. Owns the open file.
class WhiteningRows {
 public:
  /// [collective] The rows come where `placement` says. InputError (agreed) as open_sample_source.
  WhiteningRows(const Placement& placement, const std::string& data, double scale);

  std::int64_t features() const { return own_.features(); }
  /// Shape of a sample.
  const std::vector<std::int64_t>& shape() const { return source_->row_shape(); }
  /// Type of what is computed of them and written: double for double, float for all others.
  torch::ScalarType type() const { return type_; }

  /// [collective] Borrows this object. The rows come as `as` (float or double). `on_read`: see
  /// RowStreamOptions.
  RowStream stream(torch::ScalarType as, std::function<void(bool reading)> on_read,
                   std::int64_t piece_bytes = kWhiteningPieceBytes) const;
  /// [collective] The same rows for feature_moments.
  RowStream stream_for_moments(torch::ScalarType as,
                               std::function<void(bool reading)> on_read) const;

 private:
  Placement placement_;
  std::unique_ptr<SampleSource> source_;
  FileRows own_;
  CarriedRows placed_;
  torch::ScalarType type_;
};

}  // namespace eigenscale
