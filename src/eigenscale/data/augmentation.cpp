#include "eigenscale/data/augmentation.h"

#include "eigenscale/core/random.h"

namespace eigenscale {

void augment(torch::Tensor& images, const std::vector<std::int64_t>& indices,
             const AugmentationOptions& options, std::uint64_t seed, std::int64_t epoch) {
  const CounterRandom random(seed, "augmentation");
  const auto padded =
      options.crop > 0
          ? torch::constant_pad_nd(images, {options.crop, options.crop, options.crop, options.crop})
          : images.clone();
  const auto places = static_cast<std::uint64_t>(2 * options.crop + 1);
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const auto draw = [&](std::uint64_t bound, std::uint32_t which) {
      return static_cast<std::int64_t>(
          random.integer(bound, static_cast<std::uint64_t>(indices[i]),
                         static_cast<std::uint32_t>(3 * epoch) + which));
    };
    const auto image = static_cast<std::int64_t>(i);
    auto cut = padded[image]
                   .narrow(1, draw(places, 0), images.size(2))
                   .narrow(2, draw(places, 1), images.size(3));
    if (options.flip && draw(2, 2) == 1) {
      cut = cut.flip(2);
    }
    images[image].copy_(cut);
  }
}

}  // namespace eigenscale
