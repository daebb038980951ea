#include "eigenscale/nn/batch_normalization.h"

#include <algorithm>

#include "eigenscale/core/errors.h"
#include "eigenscale/nn/saved_communicator.h"

namespace eigenscale {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// Per channel, over the samples of all ranks; double.
struct ChannelMoments {
  double samples = 0;
  torch::Tensor mean;
  torch::Tensor variance;  ///< divided by the number of samples
};

std::int64_t samples_per_channel(const torch::Tensor& input) {
  return input.numel() / std::max<std::int64_t>(1, input.size(1));
}

// The mean comes first, and every rank's squares are about it (Chan, Golub and LeVeque, 1983): raw
// second moments would lose digits when it is large. Two sums, so that what a rank holds and sends
// does not grow with their number.
ChannelMoments channel_moments(const Communicator& communicator, const torch::Tensor& input) {
  const std::int64_t channels = input.size(1);
  const std::int64_t own = samples_per_channel(input);
  const auto wide = input.options().dtype(torch::kFloat64);
  torch::Tensor own_mean = torch::zeros({channels}, wide);
  torch::Tensor own_variance = own_mean;
  if (own > 0) {
    const auto [mean, variance] = at::batch_norm_update_stats(input, {}, {}, 0);
    own_mean = mean.to(torch::kFloat64);
    own_variance = variance.to(torch::kFloat64);
  }
  const auto weight = static_cast<double>(own);
  auto sums = torch::cat({own_mean * weight, torch::full({1}, weight, wide)});
  if (communicator.size() > 1) {
    communicator.all_reduce(sums);
  }
  ChannelMoments result;
  result.samples = sums[channels].item<double>();
  if (result.samples == 0) {
    throw Error(ExitCode::kInput, "a normalisation layer was given a batch without samples",
                /*agreed=*/true);
  }
  result.mean = sums.narrow(0, 0, channels) / result.samples;
  result.variance = (own_variance + (own_mean - result.mean).square()) * weight;
  if (communicator.size() > 1) {
    communicator.all_reduce(result.variance);
  }
  result.variance = result.variance / result.samples;
  return result;
}

/// x * factor + term, per channel, in one pass over x.
torch::Tensor affine_map(const torch::Tensor& x, const torch::Tensor& factor,
                         const torch::Tensor& term) {
  if (x.numel() == 0) {
    return torch::empty_like(x);  // the kernel divides by the number of samples
  }
  const auto type = x.scalar_type();
  return std::get<0>(at::native_batch_norm(x, factor.to(type), term.to(type),
                                           torch::zeros({x.size(1)}, x.options()),
                                           torch::ones({x.size(1)}, x.options()), false, 0, 0));
}

class Normalize : public torch::autograd::Function<Normalize> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& scale, const torch::Tensor& shift,
                               const torch::Tensor& mean, const torch::Tensor& inverse_deviation,
                               double samples, const Communicator* communicator) {
    context->save_for_backward({input, scale, mean, inverse_deviation});
    context->saved_data["samples"] = samples;
    context->saved_data["communicator"] = save_communicator(communicator);
    const auto factor = scale.to(torch::kFloat64) * inverse_deviation;
    return affine_map(input, factor, shift.to(torch::kFloat64) - mean * factor);
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto saved = context->get_saved_variables();
    const auto& input = saved[0];
    const auto& scale = saved[1];
    const auto& mean = saved[2];
    const auto& inverse_deviation = saved[3];
    const double samples = context->saved_data["samples"].toDouble();
    const auto& communicator = saved_communicator(context->saved_data["communicator"]);
    const auto type = input.scalar_type();
    const auto gradient = gradients[0].contiguous();
    const std::int64_t channels = input.size(1);

    // Sums of g * xhat and of g over the own samples: the gradients of scale and shift.
    auto sums = torch::zeros({2, channels}, input.options().dtype(torch::kFloat64));
    if (samples_per_channel(input) > 0) {
      const auto local = at::native_batch_norm_backward(gradient, input, {}, mean.to(type),
                                                        inverse_deviation.pow(-2).to(type), {}, {},
                                                        false, 0, {false, true, true});
      sums[0].copy_(std::get<1>(local));
      sums[1].copy_(std::get<2>(local));
    }
    const auto scale_gradient = sums[0].to(scale.scalar_type());
    const auto shift_gradient = sums[1].to(scale.scalar_type());
    auto total = sums;
    if (communicator.size() > 1) {
      total = sums.clone();
      communicator.all_reduce(total);
    }
    total = total / samples;
    // dx = scale / s (g - mean g - xhat mean(g xhat)), xhat = (x - m) / s.
    const auto factor = scale.to(torch::kFloat64) * inverse_deviation;
    const auto of_input = -factor * inverse_deviation * total[0];
    const auto constant = -factor * total[1] - of_input * mean;
    std::vector<std::int64_t> shape(input.dim(), 1);
    shape[1] = channels;
    auto result =
        affine_map(input, of_input, constant).addcmul_(gradient, factor.to(type).view(shape));
    return {result, scale_gradient, shift_gradient, {}, {}, {}, {}};
  }
};

}  // namespace

BatchNormalization::BatchNormalization(const Communicator& communicator,
                                       const NormalizationOptions& options)
    : Normalization(communicator, options),
      running_mean_(
          register_buffer("running_mean", torch::zeros({options.channels}, torch::kFloat64))),
      running_variance_(
          register_buffer("running_variance", torch::ones({options.channels}, torch::kFloat64))) {}

torch::Tensor BatchNormalization::normalize(const torch::Tensor& input) {
  const auto x = input.contiguous();
  const auto like = x.options().requires_grad(false);
  const auto scale = scale_.defined() ? scale_ : torch::ones({options_.channels}, like);
  const auto shift = shift_.defined() ? shift_ : torch::zeros({options_.channels}, like);
  if (!is_training()) {
    const auto factor = scale.to(torch::kFloat64) * (running_variance_ + options_.epsilon).rsqrt();
    return affine_map(x, factor, shift.to(torch::kFloat64) - running_mean_ * factor);
  }
  const auto moments = channel_moments(communicator_, x.detach());
  update_running(running_mean_, moments.mean);
  update_running(running_variance_,
                 moments.variance * (moments.samples / std::max(moments.samples - 1, 1.0)));
  return Normalize::apply(x, scale, shift, moments.mean,
                          (moments.variance + options_.epsilon).rsqrt(), moments.samples,
                          &communicator_);
}

}  // namespace eigenscale
