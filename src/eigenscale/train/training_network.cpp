#include "eigenscale/train/training_network.h"

#include <c10/util/accumulate.h>

#include <algorithm>
#include <cmath>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/format.h"
#include "eigenscale/core/shape_text.h"
#include "eigenscale/nn/named_networks.h"
#include "eigenscale/nn/network_specification.h"
#include "eigenscale/train/training_run.h"

namespace eigenscale {
namespace {

// More than one class for so many samples is a mistake in the labels, not a problem to learn.
constexpr std::int64_t kSamplesPerClass = 2;

void require_few_classes(const LabelledSamples& samples, std::int64_t largest_label) {
  if (largest_label >= std::max<std::int64_t>(samples.count() / kSamplesPerClass, 2)) {
    throw InputError(format_text(
        "'{}' has label {}: a network for all classes from 0 to it would have more than one for "
        "every {} of the {} samples. Number the classes 0 to K - 1, or give --network a file with "
        "as many outputs",
        samples.labels_name, largest_label, kSamplesPerClass, samples.count()));
  }
}

}  // namespace

nlohmann::json training_network(const TrainingRunOptions& options, const LabelledSamples& samples,
                                std::int64_t largest_label) {
  const double scale = options.trainer.batches.scale;
  if (!std::isfinite(scale) || scale == 0) {
    throw OptionError(format_text("--scale is {}; expected a finite number other than 0", scale));
  }
  const auto& shape = options.image_shape.empty() ? samples.shape : options.image_shape;
  if (c10::multiply_integers(shape) != c10::multiply_integers(samples.shape)) {
    throw InputError("--image-shape is " + shape_text(shape) + " but the samples of '" +
                     samples.data + "' have shape " + shape_text(samples.shape));
  }
  nlohmann::json specification;
  if (options.network.ends_with(".json")) {
    specification = read_specification(options.network);
  } else {
    require_few_classes(samples, largest_label);
    specification =
        named_network(options.network, {.input = shape,
                                        .classes = std::max<std::int64_t>(largest_label + 1, 2),
                                        .normalization = options.normalization});
  }
  const auto input = specification["input"].get<std::vector<std::int64_t>>();
  if (c10::multiply_integers(input) != c10::multiply_integers(shape)) {
    throw InputError("the network of '" + options.network + "' takes samples of shape " +
                     shape_text(input) + " but those of '" + samples.data + "' have shape " +
                     shape_text(samples.shape));
  }
  return specification;
}

}  // namespace eigenscale
