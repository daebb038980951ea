#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>

#include "eigenscale/data/input_file.h"

namespace eigenscale {

/// The inflated bytes of a gzip file; offsets count inflated bytes. Owns the zlib stream. Going
/// forward skips by inflating, going back starts over.
class GzipFile final : public ByteSource {
 public:
  /// [local] InputError when the file is missing or not gzip.
  explicit GzipFile(const std::string& path);
  ~GzipFile() override;
  GzipFile(const GzipFile&) = delete;
  GzipFile& operator=(const GzipFile&) = delete;

  void read(std::int64_t offset, void* data, std::int64_t bytes) const override;
  /// Refuses at once what no gzip file of this size can hold. Reading the last of the `bytes` bytes
  /// then checks that the stream ends there and its checksum is right.
  void require_size(std::int64_t bytes) const override;

 private:
  void require_end(std::int64_t bytes) const;

  std::string name_;
  InputFile compressed_;
  gzFile stream_ = nullptr;
  mutable std::int64_t expected_size_ = -1;
};

}  // namespace eigenscale
