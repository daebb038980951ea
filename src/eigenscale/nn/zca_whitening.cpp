#include "eigenscale/nn/zca_whitening.h"

#include <vector>

#include "eigenscale/nn/batch_whitening.h"
#include "eigenscale/nn/distributed_whitening.h"
#include "eigenscale/nn/global_moments.h"
#include "eigenscale/spectral/differentiable_eigen.h"
#include "eigenscale/spectral/matrix_function.h"
#include "eigenscale/spectral/streamed_covariance.h"

namespace eigenscale {

ZcaWhitening::ZcaWhitening(const Communicator& communicator, const NormalizationOptions& options)
    : Normalization(communicator, options),
      running_mean_(
          register_buffer("running_mean", torch::zeros({options.channels}, torch::kFloat64))) {
  const bool distributed = communicator.size() > 1 && ProcessGrid::supports(communicator.size()) &&
                           options.groups == 1 && options.channels >= options.distributed_from &&
                           !options.rule && options.energy == 1 && options.components == 0 &&
                           options.running == RunningAverage::kCovariance;
  if (!distributed) {
    running_matrix_ = register_buffer(
        "running_matrix", torch::eye(group_size(), torch::kFloat64).repeat({options.groups, 1, 1}));
    return;
  }
  const auto [rows, columns] = ProcessGrid::squarest(communicator.size());
  grid_ = std::make_shared<const ProcessGrid>(communicator, rows, columns);
  const auto layout = feature_layout(options.channels, options.channels, grid_);
  auto identity = torch::zeros({layout.local_rows(), layout.local_columns()}, torch::kFloat64);
  const auto own = own_diagonal(layout);
  identity.index_put_({own.rows, own.columns}, torch::ones(own.rows.sizes(), torch::kFloat64));
  running_matrix_ = register_buffer("running_matrix", identity);
}

std::vector<torch::Tensor> ZcaWhitening::local_buffers() const {
  return grid_ == nullptr ? std::vector<torch::Tensor>() : std::vector{running_matrix_};
}

bool ZcaWhitening::Evaluated::is_of(const torch::Tensor& running) const {
  return storage == running.data_ptr() && version == static_cast<std::int64_t>(running._version());
}

void ZcaWhitening::Evaluated::set_source(const torch::Tensor& running) {
  storage = running.data_ptr();
  version = static_cast<std::int64_t>(running._version());
}

// Whatever changes the running matrix in place counts its version up.
void ZcaWhitening::update_evaluated() {
  const torch::NoGradGuard no_grad;
  if (!evaluated_.is_of(running_matrix_)) {
    if (grid_ != nullptr) {
      evaluated_.distributed = whitening_matrix(grid_, running_matrix_, options_.channels,
                                                options_.epsilon, options_.relative_epsilon);
    } else if (options_.running == RunningAverage::kCovariance) {
      evaluated_.matrix = whitening(running_matrix_);
    } else {
      evaluated_.matrix = running_matrix_;
    }
    evaluated_.kept = kept_;
    evaluated_.set_source(running_matrix_);
  }
  kept_ = evaluated_.kept;
}

torch::Tensor ZcaWhitening::forward_distributed(const torch::Tensor& columns) {
  kept_ = options_.channels;
  if (!is_training()) {
    update_evaluated();
    return whiten_by(evaluated_.distributed, columns, running_mean_.unsqueeze(1));
  }
  const auto result =
      distributed_whitening(grid_, columns, options_.epsilon, options_.relative_epsilon);
  update_running(running_mean_, result.mean.flatten());
  update_running(running_matrix_, result.covariance);
  return result.output;
}

torch::Tensor ZcaWhitening::whitening_of_group(const torch::Tensor& covariance) {
  const std::int64_t size = group_size();
  auto epsilon = torch::full({}, options_.epsilon, covariance.options());
  if (options_.relative_epsilon) {
    epsilon = epsilon * covariance.trace() / static_cast<double>(size);
  }
  const auto shifted = covariance + epsilon * torch::eye(size, covariance.options());
  if (options_.rule) {
    const auto pairs = differentiable_eigen(shifted, *options_.rule);
    const auto kept = count_kept((pairs.values - epsilon).detach().contiguous());
    kept_ += kept;
    const auto vectors = pairs.vectors.narrow(1, 0, kept);
    return (vectors * pairs.values.narrow(0, 0, kept).clamp_min(1e-300).rsqrt())
        .matmul(vectors.t());
  }
  if (options_.energy == 1 && options_.components == 0) {
    kept_ += size;
    return matrix_function(shifted, SpectralFunction::inverse_square_root());
  }
  const auto values = eigen_decomposition(covariance).values;
  const auto kept = count_kept(values);
  kept_ += kept;
  return matrix_function(shifted, kept == size
                                      ? SpectralFunction::inverse_square_root()
                                      : SpectralFunction::truncated_inverse_square_root(kept));
}

torch::Tensor ZcaWhitening::whitening(const torch::Tensor& covariance) {
  kept_ = 0;
  std::vector<torch::Tensor> groups;
  for (std::int64_t group = 0; group < options_.groups; ++group) {
    groups.push_back(whitening_of_group(covariance[group]));
  }
  return torch::stack(groups);
}

torch::Tensor ZcaWhitening::normalize(const torch::Tensor& input) {
  if (grid_ != nullptr) {
    return in_shape_of(affine(forward_distributed(channels_first(input))), input);
  }
  if (is_training()) {
    const auto like = input.options().requires_grad(false);
    const auto scale = scale_.defined() ? scale_ : torch::ones({options_.channels}, like);
    const auto shift = shift_.defined() ? shift_ : torch::zeros({options_.channels}, like);
    const auto result =
        batch_whitening(communicator_, input, options_.groups, scale, shift,
                        [this](const torch::Tensor& covariance) { return whitening(covariance); });
    update_running(running_mean_, result.mean.flatten());
    update_running(running_matrix_, options_.running == RunningAverage::kCovariance
                                        ? result.covariance
                                        : result.matrix);
    return result.output;
  }
  const auto columns = channels_first(input);
  const auto type = columns.scalar_type();
  update_evaluated();
  const auto& matrix = evaluated_.matrix;
  const auto centred = columns - running_mean_.unsqueeze(1).to(type);
  const auto white = torch::bmm(matrix.to(type), centred.view({options_.groups, group_size(), -1}));
  return in_shape_of(affine(white.view({options_.channels, -1})), input);
}

}  // namespace eigenscale
