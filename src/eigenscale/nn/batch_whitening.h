#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Whitening by the statistics of a batch that lies on all ranks.
struct BatchWhitening {
  torch::Tensor output;      ///< in the shape of the input, with a gradient
  torch::Tensor mean;        ///< C x 1, double
  torch::Tensor covariance;  ///< groups x C / groups x C / groups, divided by the samples, double
  torch::Tensor matrix;      ///< `whitening(covariance)`
};

/// [collective] output = scale whitening(S) (x - mean) + shift in each of `groups` contiguous
/// groups of channels, as one step of the graph: forward X X^T and W X, backward G X^T and W^T G +
/// S X, each over pieces of the batch that fit into the cache, where they are centred and
/// transposed. The mean comes first: raw second moments would lose digits when it is large.
///
/// `input` is n x C or n x C x height x width, maybe without samples; `scale` and `shift` have C
/// numbers. `whitening` maps covariances to matrices of the same shape; autograd differentiates it,
/// in backward, so it may not communicate there. All ranks must run backward, which is collective;
/// gradients of scale and shift are the rank's own. The communicator is borrowed. Throws InputError
/// (agreed) when no rank has a sample.
BatchWhitening batch_whitening(
    const Communicator& communicator, const torch::Tensor& input, std::int64_t groups,
    const torch::Tensor& scale, const torch::Tensor& shift,
    const std::function<torch::Tensor(const torch::Tensor& covariance)>& whitening);

}  // namespace eigenscale
