#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/nn/same_padding_convolution.h"

namespace eigenscale {

/// What a stride-2 SAME convolution reads: for each of Ho x Wo output positions of N images a patch
/// of C x k x k values. The patch matrix holds one patch per column, (C k k) x (Ho Wo N); with it
/// the convolution and its adjoint are single matrix products.
///
/// Images lie batch-last (C x H x W x N): neighbours in memory are the same pixel of neighbouring
/// samples, so a stride of 2 in the image is still a run of N contiguous numbers, and the product
/// weight (out x C k k) * patches is already the next layer's input.
class PatchGeometry {
 public:
  /// `images` is the bigger side's shape, C x H x W x N.
  PatchGeometry(torch::IntArrayRef images, std::int64_t kernel);

  std::int64_t output_height() const { return rows_.output; }
  std::int64_t output_width() const { return columns_.output; }
  /// Number of patches, Ho Wo N.
  std::int64_t patches() const { return rows_.output * columns_.output * samples_; }
  /// Numbers in a patch, C k k.
  std::int64_t patch_size() const { return channels_ * kernel_ * kernel_; }

  /// [local] An uninitialised image surrounded by its zero padding.
  torch::Tensor padded_buffer(const torch::TensorOptions& options) const;
  /// [local] The image inside such a buffer, C x H x W x N, a view.
  torch::Tensor interior(const torch::Tensor& padded) const;
  /// [local] The patch matrix of a padded image.
  torch::Tensor gather(const torch::Tensor& padded) const;
  /// [local] The adjoint of padding and gathering: every pixel becomes the sum of its copies in
  /// `patches`. C x H x W x N, a view into a larger buffer.
  torch::Tensor scatter(const torch::Tensor& patches) const;

 private:
  /// One image position per (channel, tap row, tap column, output row, output column, sample), for
  /// `tap_rows` x `tap_columns` taps from (first_row, first_column); a view of `buffer`.
  torch::Tensor taps(const torch::Tensor& buffer, std::int64_t first_row, std::int64_t tap_rows,
                     std::int64_t first_column, std::int64_t tap_columns) const;

  std::int64_t channels_;
  std::int64_t height_;
  std::int64_t width_;
  std::int64_t samples_;
  std::int64_t kernel_;
  SamePadding rows_;
  SamePadding columns_;
};

}  // namespace eigenscale
