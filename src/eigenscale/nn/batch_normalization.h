#pragma once

#include "eigenscale/nn/normalization.h"

namespace eigenscale {

/// Batch normalisation (Ioffe and Szegedy, ICML 2015) with statistics of all ranks; the baseline.
/// Running variance is unbiased, as torch's.
class BatchNormalization final : public Normalization {
 public:
  BatchNormalization(const Communicator& communicator, const NormalizationOptions& options);

 private:
  torch::Tensor normalize(const torch::Tensor& input) override;
  /// A GPU's kernels read what they take in less as float.
  bool takes(const torch::Tensor& input) const override { return input.is_cuda(); }
  torch::Tensor running_mean_;
  torch::Tensor running_variance_;
};

}  // namespace eigenscale
