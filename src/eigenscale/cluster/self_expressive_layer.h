#pragma once

#include <torch/torch.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "eigenscale/cluster/presets.h"
#include "eigenscale/train/adam.h"

namespace eigenscale {

struct SelfExpressionOptions {
  CoefficientNorm norm = CoefficientNorm::kL2;
  double weight_coefficient = 1;
  double initial = 0;
  AdamOptions adam;
};

/// A layer that writes every latent sample as a combination of others, Z -> C Z, and trains its
/// coefficients itself (Ji et al., NeurIPS 2017), where its placement says. Latent samples are
/// columns here: Z^T (d x n_p, row-major), the layout the encoder works in.
class SelfExpressiveLayer {
 public:
  virtual ~SelfExpressiveLayer() = default;

  /// [collective] (C Z)^T of the own samples, d x n_p, from Z^T of the own samples.
  virtual torch::Tensor reconstruct(const torch::Tensor& latent) const = 0;

  /// [collective] One Adam step on C, given `gradient` = dL/d(C Z)^T of the own samples (d x n_p):
  /// dC = gradient Z^T + w1 d|C|. Returns (C^T gradient)^T of the own samples, d x n_p, with C as
  /// it was before the step: the part of dL/dZ that flows through C.
  virtual torch::Tensor backward_and_update(const torch::Tensor& gradient,
                                            const torch::Tensor& latent) = 0;

  /// [local] Own part of ||C||_F^2 (L1: of ||C||_1) before the last update.
  double penalty() const;

  /// What training goes on from: C and Adam's two moments of it, as this rank's rows of all, n_p x
  /// columns; and the number of steps.
  static constexpr std::array<const char*, 3> kState = {"coefficients", "first_moment",
                                                        "second_moment"};
  /// [collective] Array `which` of them; given on the host.
  virtual torch::Tensor state_rows(std::size_t which) const = 0;
  virtual void set_state_rows(std::size_t which, const torch::Tensor& rows) = 0;
  virtual void set_steps(std::int64_t steps) = 0;

 protected:
  /// [local] The Adam step `step` (from 1) on a part of C whose `gradient` lacks the penalty's,
  /// w1 d|C|, which is added to it in place; all four tensors as adam_update wants them. The part's
  /// ||C||_F^2 (L1: ||C||_1) before the step joins the penalty.
  void update(const torch::Tensor& coefficients, const torch::Tensor& gradient,
              const torch::Tensor& first_moment, const torch::Tensor& second_moment,
              std::int64_t step, const SelfExpressionOptions& options);
  /// [local] Of the next step.
  void begin_penalty() { penalty_.reset(); }

 private:
  /// A number where the coefficients are, so that no panel waits for one; undefined: 0.
  torch::Tensor penalty_;
};

}  // namespace eigenscale
