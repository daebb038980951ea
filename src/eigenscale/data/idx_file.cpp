#include "eigenscale/data/idx_file.h"

#include <array>
#include <utility>

#include "eigenscale/core/errors.h"
#include "eigenscale/data/gzip_file.h"

namespace eigenscale {

struct IdxSource::Opened {
  std::unique_ptr<ByteSource> bytes;
  ElementType type;
  std::int64_t data_offset;
  std::int64_t row_bytes;
  SampleDescription description;
};

namespace {

std::unique_ptr<ByteSource> open_bytes(const std::string& path) {
  if (path.ends_with(".gz")) {
    return std::make_unique<GzipFile>(path);
  }
  return std::make_unique<InputFile>(path);
}

ElementType element_type(int code, const std::string& path) {
  using Kind = ElementType::Kind;
  switch (code) {
    case 0x08:
      return {Kind::kUnsigned, 1, std::endian::big};
    case 0x09:
      return {Kind::kSigned, 1, std::endian::big};
    case 0x0b:
      return {Kind::kSigned, 2, std::endian::big};
    case 0x0c:
      return {Kind::kSigned, 4, std::endian::big};
    case 0x0d:
      return {Kind::kFloat, 4, std::endian::big};
    case 0x0e:
      return {Kind::kFloat, 8, std::endian::big};
    default:
      throw InputError("'" + path + "' has IDX element type " + std::to_string(code) +
                       " at offset 2; known are 8, 9, 11, 12, 13 and 14");
  }
}

}  // namespace

IdxSource::IdxSource(const std::string& path)
    : IdxSource([&] {
        auto bytes = open_bytes(path);
        std::array<unsigned char, 4> magic{};
        bytes->read(0, magic.data(), 4);
        if (magic[0] != 0 || magic[1] != 0) {
          throw InputError(
              "'" + path + "' is not IDX: it begins with the bytes " + std::to_string(magic[0]) +
              ", " + std::to_string(magic[1]) + ", expected are 0, 0" +
              (magic[0] != 0x1f || magic[1] != 0x8b ? ""
               : path.ends_with(".gz") ? " (gzip in gzip: it was compressed twice, inflate it once)"
                                       : " (it is gzip: the name should end in .gz)"));
        }
        const ElementType type = element_type(magic[2], path);
        const int dimensions = magic[3];
        if (dimensions == 0) {
          throw InputError("'" + path + "' has no dimensions (offset 3)");
        }
        std::vector<std::int64_t> shape(dimensions);
        for (int dimension = 0; dimension < dimensions; ++dimension) {
          std::array<unsigned char, 4> size{};
          bytes->read(4 + 4 * dimension, size.data(), 4);
          shape[dimension] = std::int64_t{size[0]} << 24 | size[1] << 16 | size[2] << 8 | size[3];
        }
        const std::int64_t data_offset = 4 + 4 * dimensions;
        bytes->require_size(data_offset + byte_count(shape, type.bytes, path));
        SampleDescription description{
            path, shape.front(), {shape.begin() + 1, shape.end()}, type.scalar_type()};
        const std::int64_t row_bytes = byte_count(description.row_shape, type.bytes, path);
        return Opened{std::move(bytes), type, data_offset, row_bytes, std::move(description)};
      }()) {}

IdxSource::IdxSource(Opened opened)
    : SampleSource(std::move(opened.description)),
      bytes_(std::move(opened.bytes)),
      type_(opened.type),
      data_offset_(opened.data_offset),
      row_bytes_(opened.row_bytes) {}

torch::Tensor IdxSource::read_rows(RowRange range) const {
  const auto raw = torch::empty({range.size() * row_bytes_}, torch::kUInt8);
  if (raw.numel() > 0) {
    bytes_->read(data_offset_ + range.begin * row_bytes_, raw.data_ptr(), raw.numel());
  }
  return decode(type_, raw, name()).view(shape_of(range.size()));
}

}  // namespace eigenscale
