#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "eigenscale/data/element_type.h"
#include "eigenscale/data/input_file.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {

/// An IDX file as of the MNIST database (Y. LeCun, C. Cortes): 0, 0, type, number of dimensions,
/// the dimensions, the elements, all big-endian; optionally under gzip. Gzip cannot seek: rows are
/// inflated from the start and only those asked for are kept, so ask in ascending order. The size
/// and the checksum of a compressed file are checked when its last row is read.
class IdxSource final : public SampleSource {
 public:
  /// [local] InputError for a file with wrong magic, type, dimensions or size.
  explicit IdxSource(const std::string& path);
  torch::Tensor read_rows(RowRange range) const override;

 private:
  struct Opened;
  explicit IdxSource(Opened opened);

  std::unique_ptr<ByteSource> bytes_;
  ElementType type_;
  std::int64_t data_offset_;
  std::int64_t row_bytes_;
};

}  // namespace eigenscale
