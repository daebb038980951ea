#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "eigenscale/cluster/self_expressive_layer.h"
#include "eigenscale/comm/placement.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// The self-expressive layer whose dictionary is m of the samples, the landmarks: Z -> C Z_L with
/// codes C (N x m). With m = N it is SelfExpression on a P x 1 grid.
///
/// A rank has the rows of C of its own samples, with Adam's moments 12 n_p m bytes in single
/// precision, and while it works all landmarks' latents, m d, and the gradient of 256 rows of C.
/// A step gathers Z_L and scatters its gradient: 2 m d words, independent of N.
class LandmarkCodes final : public SelfExpressiveLayer {
 public:
  /// [local] `landmarks`: ascending indices of samples, the same on all ranks. C starts at
  /// `options.initial` everywhere (L1: but for a landmark's code on itself). Lies where
  /// `placement` says, whose communicators it borrows.
  LandmarkCodes(const Placement& placement, const RowPartition& partition,
                std::vector<std::int64_t> landmarks, torch::ScalarType type,
                const SelfExpressionOptions& options);

  torch::Tensor reconstruct(const torch::Tensor& latent) const override;
  torch::Tensor backward_and_update(const torch::Tensor& gradient,
                                    const torch::Tensor& latent) override;
  torch::Tensor state_rows(std::size_t which) const override {
    return placement_.to_host(state(which), "files");
  }
  void set_state_rows(std::size_t which, const torch::Tensor& rows) override;
  void set_steps(std::int64_t steps) override { steps_ = steps; }

  const std::vector<std::int64_t>& landmarks() const { return landmarks_; }
  /// [local] This rank's rows of C on the host, n_p x m; shares storage where they are there.
  torch::Tensor codes() const { return placement_.to_host(codes_, "coefficients"); }
  /// [local] Frees Adam's moments, which the phases after training do not need.
  void finish_training();

 private:
  torch::Tensor gather_landmarks(const torch::Tensor& latent) const;
  void clear_own_codes();
  torch::Tensor state(std::size_t which) const {
    return std::array{codes_, first_moment_, second_moment_}.at(which);
  }

  Placement placement_;
  RowPartition partition_;
  std::vector<std::int64_t> landmarks_;
  SelfExpressionOptions options_;
  torch::Tensor own_positions_;  ///< of own landmarks among the own samples
  std::int64_t first_own_ = 0;   ///< of own landmarks among all landmarks
  Communicator::Counts counts_;  ///< landmarks of each rank
  torch::Tensor codes_, first_moment_, second_moment_;
  torch::Tensor panel_;
  std::int64_t steps_ = 0;
};

}  // namespace eigenscale
