#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace eigenscale {

struct AugmentationOptions {
  /// Images are surrounded by so many zeros and cut back to size at a random place.
  std::int64_t crop = 0;
  /// Half of the images are mirrored left to right.
  bool flip = false;

  bool any() const { return crop > 0 || flip; }
};

/// [local] Changes `images` (n x C x H x W) in place. The draw of an image is a function of (seed,
/// epoch, its index in the data set), so that it does not depend on ranks or batches.
void augment(torch::Tensor& images, const std::vector<std::int64_t>& indices,
             const AugmentationOptions& options, std::uint64_t seed, std::int64_t epoch);

}  // namespace eigenscale
