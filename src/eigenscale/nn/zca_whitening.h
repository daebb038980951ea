#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/nn/local_buffers.h"
#include "eigenscale/nn/normalization.h"

namespace eigenscale {

/// ZCA whitening of the channels (Wang et al., NeurIPS 2019): Y = (S + e I)^(-1/2) (X - mean), with
/// the covariance S of the batch on all ranks, for each group of channels. By default the gradient
/// is that of the matrix function, exact and bounded for repeated eigenvalues; with a GradientRule
/// it goes through the eigenvectors. From `distributed_from` channels on, where the build has
/// ScaLAPACK, construction is collective and no rank holds channels x channels numbers; the running
/// covariance is then this rank's block.
/// With truncation, directions behind the kept ones become zero.
class ZcaWhitening final : public Normalization, public LocalBuffers {
 public:
  ZcaWhitening(const Communicator& communicator, const NormalizationOptions& options);
  /// The running covariance when distributed.
  std::vector<torch::Tensor> local_buffers() const override;

 private:
  torch::Tensor normalize(const torch::Tensor& input) override;
  /// groups x c x c from covariances without epsilon; counts what is kept.
  torch::Tensor whitening(const torch::Tensor& covariance);
  torch::Tensor whitening_of_group(const torch::Tensor& covariance);
  torch::Tensor forward_distributed(const torch::Tensor& columns);
  /// [collective when distributed] Decomposes the running covariance if it is not that of the last
  /// evaluation.
  void update_evaluated();

  /// Null while the matrices are small.
  std::shared_ptr<const ProcessGrid> grid_;
  torch::Tensor running_mean_;
  /// Average covariance, or average whitening matrix; this rank's block of it when distributed.
  torch::Tensor running_matrix_;

  /// What evaluation whitens by, and the state of the running matrix it was computed from.
  struct Evaluated {
    bool is_of(const torch::Tensor& running) const;
    void set_source(const torch::Tensor& running);
    const void* storage = nullptr;
    std::int64_t version = 0;
    torch::Tensor matrix;
    DistributedMatrix distributed;
    std::int64_t kept = 0;
  };
  Evaluated evaluated_;
};

}  // namespace eigenscale
