#pragma once

#include "eigenscale/nn/normalization.h"

namespace eigenscale {

/// Batch normalisation (Ioffe and Szegedy, ICML 2015) with statistics of all ranks; the baseline.
/// Running variance is unbiased, as torch's.
class BatchNormalization final : public Normalization {
 public:
  BatchNormalization(const Communicator& communicator, const NormalizationOptions& options);
  torch::Tensor forward(const torch::Tensor& input) override;

 private:
  torch::Tensor running_mean_;
  torch::Tensor running_variance_;
};

}  // namespace eigenscale
