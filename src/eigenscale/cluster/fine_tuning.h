#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "eigenscale/cluster/presets.h"
#include "eigenscale/cluster/self_expressive_layer.h"
#include "eigenscale/comm/placement.h"
#include "eigenscale/nn/autoencoder.h"
#include "eigenscale/train/adam.h"

namespace eigenscale {

/// The terms of the loss of one fine-tuning step over all samples, before its update.
struct FineTuningStep {
  std::int64_t step = 0;           ///< from 1
  double reconstruction = 0;       ///< w0 ||X - Xr||^2
  double self_expression = 0;      ///< w2 / 2 ||Z - C Z||^2
  double coefficient_penalty = 0;  ///< ||C||_F^2, or ||C||_1
  double loss = 0;                 ///< their sum, the penalty weighted by w1
};

/// Where fine-tuning stands behind a step, beside weights and coefficients: what it goes on from.
struct FineTuningProgress {
  std::int64_t step = 0;               ///< done
  std::vector<torch::Tensor> moments;  ///< of the network's optimiser, whole on every rank
  std::vector<std::int64_t> order;     ///< of the gradient reducer
  bool order_is_final = false;
};

/// [collective] Deep subspace clustering's second phase (Ji et al., NeurIPS 2017): full-batch Adam
/// on encoder, coefficients and decoder together,
///   L = w0 ||X - dec(C Z)||^2 + w1 |C| + w2 / 2 ||Z - C Z||^2,   Z = enc(X),
/// with fresh optimiser state, or that of `from`, with which network and coefficients then belong.
/// `columns` are the own samples as columns, D x n_p; they, network and coefficients lie where
/// `placement` says. `on_step` sees every step on all ranks and
/// ends the training by returning false, or by an exception, on all ranks alike. Throws
/// NumericalError on all ranks when the loss is not finite, naming the step.
void fine_tune(
    const Placement& placement, Autoencoder& autoencoder, SelfExpressiveLayer& self_expression,
    const torch::Tensor& columns, const ClusteringSettings& settings, const AdamOptions& adam,
    const FineTuningProgress& from,
    const std::function<bool(const FineTuningStep&, const FineTuningProgress&)>& on_step);

}  // namespace eigenscale
