#include "eigenscale/nn/pca_denoising.h"

#include <vector>

#include "eigenscale/nn/global_moments.h"
#include "eigenscale/spectral/differentiable_eigen.h"
#include "eigenscale/spectral/matrix_function.h"

namespace eigenscale {

PcaDenoising::PcaDenoising(const Communicator& communicator, const NormalizationOptions& options)
    : Normalization(communicator, options),
      running_mean_(
          register_buffer("running_mean", torch::zeros({options.channels}, torch::kFloat64))),
      running_variance_(
          register_buffer("running_variance", torch::ones({options.channels}, torch::kFloat64))),
      running_projector_(register_buffer(
          "running_projector",
          torch::eye(group_size(), torch::kFloat64).repeat({options.groups, 1, 1}))) {}

torch::Tensor PcaDenoising::projector(const torch::Tensor& correlation) {
  kept_ = 0;
  std::vector<torch::Tensor> groups;
  for (std::int64_t group = 0; group < options_.groups; ++group) {
    if (options_.rule) {
      const auto pairs = differentiable_eigen(correlation[group], *options_.rule);
      const auto kept = count_kept(pairs.values.detach().contiguous());
      const auto vectors = pairs.vectors.narrow(1, 0, kept);
      kept_ += kept;
      groups.push_back(vectors.matmul(vectors.t()));
    } else {
      const auto kept = count_kept(eigen_decomposition(correlation[group]).values);
      kept_ += kept;
      groups.push_back(matrix_function(correlation[group], SpectralFunction::projector(kept)));
    }
  }
  return torch::stack(groups);
}

torch::Tensor PcaDenoising::normalize(const torch::Tensor& input) {
  const auto columns = channels_first(input);
  const auto type = columns.scalar_type();
  const auto grouped = [&](const torch::Tensor& values) {
    return values.view({options_.groups, group_size(), -1});
  };
  torch::Tensor standard;
  torch::Tensor projection;
  if (is_training()) {
    const auto moments = global_moments(communicator_, columns, options_.groups);
    const auto& covariance = moments.covariance;
    const auto variance = covariance.diagonal(0, 1, 2).reshape({options_.channels, 1});
    const auto inverse_deviation = (variance + options_.epsilon).rsqrt();
    const auto scale = grouped(inverse_deviation);
    projection = projector(covariance * scale * scale.transpose(1, 2));
    standard = moments.centred * inverse_deviation.to(type);
    update_running(running_mean_, moments.mean.flatten());
    update_running(running_variance_, variance.flatten());
    update_running(running_projector_, projection);
  } else {
    projection = running_projector_;
    standard = (columns - running_mean_.unsqueeze(1).to(type)) *
               (running_variance_ + options_.epsilon).rsqrt().unsqueeze(1).to(type);
  }
  const auto denoised = torch::bmm(projection.to(type), grouped(standard));
  return in_shape_of(affine(denoised.view({options_.channels, -1})), input);
}

}  // namespace eigenscale
