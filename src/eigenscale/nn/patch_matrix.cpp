#include "eigenscale/nn/patch_matrix.h"

#include <algorithm>

namespace eigenscale {

PatchGeometry::PatchGeometry(torch::IntArrayRef images, std::int64_t kernel)
    : channels_(images[0]),
      height_(images[1]),
      width_(images[2]),
      samples_(images[3]),
      kernel_(kernel),
      rows_(same_padding(height_, kernel)),
      columns_(same_padding(width_, kernel)) {}

namespace {

// Zeroes `length` rows (1) or columns (2) of an image from `begin`, often none.
void zero_strip(const torch::Tensor& image, int dimension, std::int64_t begin,
                std::int64_t length) {
  if (length > 0) {
    image.narrow(dimension, begin, length).zero_();
  }
}

}  // namespace

torch::Tensor PatchGeometry::padded_buffer(const torch::TensorOptions& options) const {
  auto buffer = torch::empty({channels_, rows_.before + height_ + rows_.after,
                              columns_.before + width_ + columns_.after, samples_},
                             options);
  zero_strip(buffer, 1, 0, rows_.before);
  zero_strip(buffer, 1, rows_.before + height_, rows_.after);
  zero_strip(buffer, 2, 0, columns_.before);
  zero_strip(buffer, 2, columns_.before + width_, columns_.after);
  return buffer;
}

torch::Tensor PatchGeometry::interior(const torch::Tensor& padded) const {
  return padded.narrow(1, rows_.before, height_).narrow(2, columns_.before, width_);
}

torch::Tensor PatchGeometry::gather(const torch::Tensor& padded) const {
  auto patches = torch::empty({patch_size(), this->patches()}, padded.options());
  patches.view({channels_, kernel_, kernel_, rows_.output, columns_.output, samples_})
      .copy_(taps(padded, 0, kernel_, 0, kernel_));
  return patches;
}

torch::Tensor PatchGeometry::scatter(const torch::Tensor& patches) const {
  // Two neighbouring taps never meet in the same pixel at stride 2, so the taps are added in
  // blocks of 2 x 2; the first block covers each pixel of the leading part just once and is copied.
  const auto blocks = (kernel_ + 1) / 2;
  const auto buffer_height = 2 * (rows_.output + blocks - 1);
  const auto buffer_width = 2 * (columns_.output + blocks - 1);
  auto buffer = torch::empty({channels_, buffer_height, buffer_width, samples_}, patches.options());
  if (kernel_ == 1) {
    buffer.zero_();
  } else {
    zero_strip(buffer, 1, 2 * rows_.output, 2 * (blocks - 1));
    zero_strip(buffer, 2, 2 * columns_.output, 2 * (blocks - 1));
  }
  const auto source =
      patches.view({channels_, kernel_, kernel_, rows_.output, columns_.output, samples_});
  for (std::int64_t row = 0; row < kernel_; row += 2) {
    for (std::int64_t column = 0; column < kernel_; column += 2) {
      const auto tap_rows = std::min<std::int64_t>(2, kernel_ - row);
      const auto tap_columns = std::min<std::int64_t>(2, kernel_ - column);
      auto target = taps(buffer, row, tap_rows, column, tap_columns);
      const auto block = source.narrow(1, row, tap_rows).narrow(2, column, tap_columns);
      if (row == 0 && column == 0) {
        target.copy_(block);
      } else {
        target.add_(block);
      }
    }
  }
  return interior(buffer);
}

torch::Tensor PatchGeometry::taps(const torch::Tensor& buffer, std::int64_t first_row,
                                  std::int64_t tap_rows, std::int64_t first_column,
                                  std::int64_t tap_columns) const {
  const auto channel = buffer.stride(0);
  const auto row = buffer.stride(1);
  const auto column = buffer.stride(2);
  return buffer.as_strided(
      {channels_, tap_rows, tap_columns, rows_.output, columns_.output, samples_},
      {channel, row, column, 2 * row, 2 * column, 1}, first_row * row + first_column * column);
}

}  // namespace eigenscale
