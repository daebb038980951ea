#pragma once

#include <memory>

#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/nn/normalization.h"

namespace eigenscale {

/// ZCA whitening of the channels (Wang et al., NeurIPS 2019): Y = (S + e I)^(-1/2) (X - mean), with
/// the covariance S of the batch on all ranks, for each group of channels. By default the gradient
/// is that of the matrix function, exact and bounded for repeated eigenvalues; with a GradientRule
/// it goes through the eigenvectors. From `distributed_from` channels on, where the build has
/// ScaLAPACK, construction is collective and no rank holds channels x channels numbers; the running
/// covariance is then this rank's block.
/// With truncation, directions behind the kept ones become zero.
class ZcaWhitening final : public Normalization {
 public:
  ZcaWhitening(const Communicator& communicator, const NormalizationOptions& options);
  torch::Tensor forward(const torch::Tensor& input) override;

 private:
  /// groups x c x c from covariances without epsilon; counts what is kept.
  torch::Tensor whitening(const torch::Tensor& covariance);
  torch::Tensor whitening_of_group(const torch::Tensor& covariance);
  torch::Tensor forward_distributed(const torch::Tensor& columns);

  /// Null while the matrices are small.
  std::shared_ptr<const ProcessGrid> grid_;
  torch::Tensor running_mean_;
  /// Average covariance, or average whitening matrix; this rank's block of it when distributed.
  torch::Tensor running_matrix_;
};

}  // namespace eigenscale
