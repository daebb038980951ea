#include "eigenscale/nn/batch_normalization.h"

#include <algorithm>
#include <tuple>

#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/nn/saved_communicator.h"

namespace eigenscale {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// Per channel, over the samples of all ranks; double, but for one rank's on a GPU.
struct ChannelMoments {
  torch::Tensor samples;  ///< one number; on a device it stays there
  torch::Tensor mean;
  torch::Tensor variance;  ///< divided by the number of samples
  torch::Tensor unbiased;  ///< divided by one less
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
  if (input.is_cuda() && own > 0 && communicator.size() == 1) {
    // A few numbers each: what takes time is to start a kernel.
    const auto [mean, variance] = at::batch_norm_update_stats(input, {}, {}, 0);
    const auto n = static_cast<double>(own);
    return {torch::full({1}, own, wide.dtype(torch::kInt32)), mean, variance,
            variance * (n / std::max(n - 1, 1.0))};
  }
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
  result.samples = sums[channels];
  if (own == 0 && number_of(result.samples, "normalisation").toDouble() == 0) {
    throw Error(ExitCode::kInput, "a normalisation layer was given a batch without samples",
                /*agreed=*/true);
  }
  result.mean = sums.narrow(0, 0, channels) / result.samples;
  result.variance = (own_variance + (own_mean - result.mean).square()) * weight;
  if (communicator.size() > 1) {
    communicator.all_reduce(result.variance);
  }
  result.variance = result.variance / result.samples;
  result.unbiased = result.variance * (result.samples / (result.samples - 1).clamp_min(1));
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

/// The type in which a device's kernels take what there is one of for each channel.
torch::ScalarType channel_type(const torch::Tensor& x) {
  return x.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

/// (x - mean) * inverse deviation * scale + shift.
torch::Tensor standardize(const torch::Tensor& x, const torch::Tensor& scale,
                          const torch::Tensor& shift, const torch::Tensor& mean,
                          const torch::Tensor& inverse_deviation) {
  if (x.is_cuda() && x.numel() > 0) {
    const auto type = channel_type(x);
    return at::batch_norm_elemt(x, scale, shift, mean.to(type), inverse_deviation.to(type), 0);
  }
  const auto factor = scale.to(torch::kFloat64) * inverse_deviation;
  return affine_map(x, factor, shift.to(torch::kFloat64) - mean * factor);
}

class Normalize : public torch::autograd::Function<Normalize> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& input,
                               const torch::Tensor& scale, const torch::Tensor& shift,
                               const torch::Tensor& mean, const torch::Tensor& inverse_deviation,
                               const torch::Tensor& samples, const Communicator* communicator) {
    context->save_for_backward({input, scale, mean, inverse_deviation, samples});
    context->saved_data["communicator"] = save_communicator(communicator);
    return standardize(input, scale, shift, mean, inverse_deviation);
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto saved = context->get_saved_variables();
    if (saved[0].is_cuda()) {
      return backward_on_gpu(saved, gradients[0],
                             saved_communicator(context->saved_data["communicator"]));
    }
    const auto& input = saved[0];
    const auto& scale = saved[1];
    const auto& mean = saved[2];
    const auto& inverse_deviation = saved[3];
    const auto& samples = saved[4];
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

 private:
  /// The same by kernels that read the batch once for the sums and once for the result.
  static tensor_list backward_on_gpu(const tensor_list& saved, const torch::Tensor& of_output,
                                     const Communicator& communicator) {
    const auto& input = saved[0];
    const auto& scale = saved[1];
    const auto type = channel_type(input);
    const auto mean = saved[2].to(type);
    const auto inverse_deviation = saved[3].to(type);
    const auto gradient =
        of_output.to(input.scalar_type()).contiguous(input.suggest_memory_format());
    torch::Tensor of_samples;    // sum of g
    torch::Tensor of_deviation;  // sum of g (x - mean)
    torch::Tensor scale_gradient;
    torch::Tensor shift_gradient;
    if (input.numel() > 0) {
      std::tie(of_samples, of_deviation, scale_gradient, shift_gradient) =
          at::batch_norm_backward_reduce(gradient, input, mean, inverse_deviation, scale, true,
                                         true, true);
    } else {
      of_samples = of_deviation = torch::zeros_like(mean);
      scale_gradient = shift_gradient = torch::zeros_like(scale);
    }
    if (communicator.size() > 1) {
      const auto total = torch::stack({of_samples, of_deviation}).to(torch::kFloat64);
      communicator.all_reduce(total);
      of_samples = total[0].to(type);
      of_deviation = total[1].to(type);
    }
    if (input.numel() == 0) {
      return {torch::empty_like(input), scale_gradient, shift_gradient, {}, {}, {}, {}};
    }
    const auto result =
        at::batch_norm_backward_elemt(gradient, input, mean, inverse_deviation, scale, of_samples,
                                      of_deviation, saved[4].to(torch::kInt32).view(1));
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
  const auto x =
      input.is_cuda() ? input.contiguous(input.suggest_memory_format()) : input.contiguous();
  const auto like = x.options().dtype(channel_type(x)).requires_grad(false);
  const auto scale = scale_.defined() ? scale_ : torch::ones({options_.channels}, like);
  const auto shift = shift_.defined() ? shift_ : torch::zeros({options_.channels}, like);
  if (!is_training()) {
    return standardize(x, scale, shift, running_mean_,
                       (running_variance_ + options_.epsilon).rsqrt());
  }
  const auto moments = channel_moments(communicator_, x.detach());
  update_running(running_mean_, moments.mean);
  update_running(running_variance_, moments.unbiased);
  return Normalize::apply(x, scale, shift, moments.mean,
                          (moments.variance + options_.epsilon).rsqrt(), moments.samples,
                          &communicator_);
}

}  // namespace eigenscale
