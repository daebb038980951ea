#include "eigenscale/nn/normalization.h"

#include <string>

#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/nn/autocast.h"

namespace eigenscale {

Normalization::Normalization(const Communicator& communicator, const NormalizationOptions& options)
    : communicator_(communicator), options_(options), kept_(options.channels) {
  if (options.channels < 1 || options.groups < 1 || options.channels % options.groups != 0) {
    throw OptionError(std::to_string(options.channels) + " channels do not fall into " +
                      std::to_string(options.groups) + " groups of equal size");
  }
  if (!(options.energy > 0 && options.energy <= 1)) {
    throw OptionError("the share of variance to keep is " + std::to_string(options.energy) +
                      "; expected more than 0 and at most 1");
  }
  if (options.components < 0 || options.components > group_size()) {
    throw OptionError("components to keep are " + std::to_string(options.components) +
                      "; expected at most the " + std::to_string(group_size()) + " of a group");
  }
  if (!(options.epsilon >= 0) || !(options.momentum >= 0 && options.momentum <= 1)) {
    throw OptionError("a normalisation layer needs epsilon >= 0 and momentum in 0 .. 1");
  }
  if (options.affine) {
    scale_ = register_parameter("weight", torch::ones({options.channels}));
    shift_ = register_parameter("bias", torch::zeros({options.channels}));
  }
}

torch::Tensor Normalization::forward(const torch::Tensor& input) {
  if ((input.dim() != 2 && input.dim() != 4) || input.size(1) != options_.channels) {
    throw InputError("a normalisation layer of " + std::to_string(options_.channels) +
                     " channels was given an input of shape " + c10::str(input.sizes()) +
                     "; expected n x channels, or n x channels x height x width");
  }
  const FullPrecision full_precision(input.device().type());
  const bool reduced =
      input.scalar_type() == torch::kBFloat16 || input.scalar_type() == torch::kHalf;
  return normalize(reduced && !takes(input) ? input.to(torch::kFloat32) : input);
}

torch::Tensor Normalization::affine(const torch::Tensor& columns) const {
  if (!options_.affine) {
    return columns;
  }
  return torch::addcmul(shift_.unsqueeze(1).to(columns.scalar_type()), columns,
                        scale_.unsqueeze(1).to(columns.scalar_type()));
}

std::int64_t Normalization::count_kept(const torch::Tensor& eigenvalues) const {
  constexpr double kEqual = 1e-6;
  const std::int64_t size = eigenvalues.numel();
  if (options_.components > 0) {
    return options_.components;
  }
  std::int64_t kept = size;
  if (options_.energy < 1) {
    const auto known = on_host(eigenvalues, "denoising");
    const auto* values = known.data_ptr<double>();
    const double wanted = options_.energy * known.clamp_min(0).sum().item<double>();
    double held = 0;
    kept = 0;
    while (kept < size && (kept == 0 || held < wanted)) {
      held += std::max(values[kept++], 0.0);
    }
    while (kept < size && values[kept - 1] - values[kept] <= kEqual * values[0]) {
      ++kept;
    }
    if (is_training() && communicator_.size() > 1) {
      const auto count =
          moved_to(torch::full({1}, kept, torch::kInt64), communicator_.device(), "denoising");
      communicator_.broadcast(count, 0);
      kept = number_of(count, "denoising").toLong();
    }
  }
  return kept;
}

void Normalization::update_running(torch::Tensor running, const torch::Tensor& batch) const {
  const torch::NoGradGuard no_grad;
  running.mul_(1 - options_.momentum).add_(batch.detach(), options_.momentum);
}

}  // namespace eigenscale
