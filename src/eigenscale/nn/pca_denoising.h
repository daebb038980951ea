#pragma once

#include "eigenscale/nn/normalization.h"

namespace eigenscale {

/// PCA denoising of the channels (Wang et al., NeurIPS 2019): channels are standardised, and each
/// group is projected onto the leading eigenvectors of its correlation matrix, of the batch on all
/// ranks. By default the gradient is that of the projector as a matrix function, which only the gap
/// at the cut can hurt. The running projector starts at the identity.
class PcaDenoising final : public Normalization {
 public:
  PcaDenoising(const Communicator& communicator, const NormalizationOptions& options);

 private:
  torch::Tensor normalize(const torch::Tensor& input) override;
  /// groups x c x c from correlation matrices; counts what is kept.
  torch::Tensor projector(const torch::Tensor& correlation);

  torch::Tensor running_mean_;
  torch::Tensor running_variance_;
  torch::Tensor running_projector_;
};

}  // namespace eigenscale
