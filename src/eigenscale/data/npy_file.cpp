#include "eigenscale/data/npy_file.h"

#include <algorithm>
#include <utility>

#include "eigenscale/core/errors.h"

namespace eigenscale {

struct NpySource::Opened {
  std::unique_ptr<InputFile> file;
  NpyHeader header;
  SampleDescription description;
};

NpySource::NpySource(const std::string& path)
    : NpySource([&] {
        auto file = std::make_unique<InputFile>(path);
        NpyHeader header = read_npy_header(*file);
        if (header.shape.empty()) {
          throw InputError("'" + path + "' holds a single number; an array of samples is expected");
        }
        file->require_size(header.data_offset + byte_count(header.shape, header.type.bytes, path));
        SampleDescription description{path,
                                      header.shape.front(),
                                      {header.shape.begin() + 1, header.shape.end()},
                                      header.type.scalar_type()};
        return Opened{std::move(file), std::move(header), std::move(description)};
      }()) {}

NpySource::NpySource(Opened opened)
    : SampleSource(std::move(opened.description)),
      file_(std::move(opened.file)),
      header_(std::move(opened.header)) {}

torch::Tensor NpySource::read_rows(RowRange range) const {
  // With one number per row the two orders are the same.
  if (header_.fortran_order && header_.shape.size() > 1) {
    return read_fortran_rows(range);
  }
  const std::int64_t row_bytes = byte_count(row_shape(), header_.type.bytes, name());
  const auto raw = torch::empty({range.size() * row_bytes}, torch::kUInt8);
  file_->read(header_.data_offset + range.begin * row_bytes, raw.data_ptr(), raw.numel());
  return decode(header_.type, raw, name()).view(shape_of(range.size()));
}

// Element (i, j1, ..., jk) stands at i + N (j1 + s1 (j2 + ...)): column j = (j1, ..., jk) is
// contiguous, and columns follow each other with the first index running fastest.
torch::Tensor NpySource::read_fortran_rows(RowRange range) const {
  constexpr std::int64_t kStripBytes = std::int64_t{4} << 20;
  const int bytes = header_.type.bytes;
  const std::int64_t count = range.size();
  const std::int64_t columns = byte_count(row_shape(), 1, name());
  const std::int64_t strip =
      std::clamp<std::int64_t>(kStripBytes / std::max<std::int64_t>(1, count * bytes), 1,
                               std::max<std::int64_t>(1, columns));
  auto result = torch::empty({count, columns}, scalar_type());
  for (std::int64_t first = 0; first < columns && count > 0; first += strip) {
    const std::int64_t width = std::min(strip, columns - first);
    const auto raw = torch::empty({width * count * bytes}, torch::kUInt8);
    auto* data = raw.data_ptr<std::uint8_t>();
    for (std::int64_t column = 0; column < width; ++column) {
      file_->read(header_.data_offset + ((first + column) * rows() + range.begin) * bytes,
                  data + column * count * bytes, count * bytes);
    }
    result.narrow(1, first, width)
        .copy_(decode(header_.type, raw, name()).view({width, count}).t());
  }
  // So far the columns stand in file order: a row is transposed into C order.
  std::vector<std::int64_t> reversed = {count};
  reversed.insert(reversed.end(), row_shape().rbegin(), row_shape().rend());
  std::vector<std::int64_t> order = {0};
  for (auto dimension = static_cast<std::int64_t>(row_shape().size()); dimension > 0; --dimension) {
    order.push_back(dimension);
  }
  return result.view(reversed).permute(order).contiguous();
}

}  // namespace eigenscale
