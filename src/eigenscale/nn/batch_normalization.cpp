#include "eigenscale/nn/batch_normalization.h"

#include <algorithm>

#include "eigenscale/nn/global_moments.h"

namespace eigenscale {

BatchNormalization::BatchNormalization(const Communicator& communicator,
                                       const NormalizationOptions& options)
    : Normalization(communicator, options),
      running_mean_(
          register_buffer("running_mean", torch::zeros({options.channels, 1}, torch::kFloat64))),
      running_variance_(register_buffer("running_variance",
                                        torch::ones({options.channels, 1}, torch::kFloat64))) {}

torch::Tensor BatchNormalization::forward(const torch::Tensor& input) {
  check_input(input);
  const auto columns = channels_first(input);
  const auto type = columns.scalar_type();
  if (!is_training()) {
    const auto normal = (columns - running_mean_.to(type)) *
                        (running_variance_ + options_.epsilon).rsqrt().to(type);
    return in_shape_of(affine(normal), input);
  }
  // One channel a group: the covariance is the variance.
  const auto moments = global_moments(communicator_, columns, options_.channels);
  const auto variance = moments.covariance.view({options_.channels, 1});
  update_running(running_mean_, moments.mean);
  update_running(running_variance_,
                 variance * (moments.samples / std::max(moments.samples - 1, 1.0)));
  return in_shape_of(affine(moments.centred * (variance + options_.epsilon).rsqrt()), input);
}

}  // namespace eigenscale
