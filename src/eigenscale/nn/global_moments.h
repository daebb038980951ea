#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// [local] n x C, or n x C x height x width where every pixel is a sample, as C x samples.
torch::Tensor channels_first(const torch::Tensor& input);
/// [local] The way back: C x samples in the shape of `input`.
torch::Tensor in_shape_of(const torch::Tensor& columns, const torch::Tensor& input);

/// [collective] The sum of a tensor over ranks, with its gradient: every rank's loss sees the sum,
/// so the gradient of each term is the sum of the ranks' gradients. Backward is collective, too.
torch::Tensor all_reduce_sum(const Communicator& communicator, const torch::Tensor& tensor);

/// Statistics of the samples of all ranks, with gradients through the collectives.
struct GlobalMoments {
  double samples = 0;
  torch::Tensor mean;        ///< C x 1, double
  torch::Tensor centred;     ///< C x own samples: the input less the mean, in the input's type
  torch::Tensor covariance;  ///< groups x C / groups x C / groups, divided by `samples`, double
};

/// [collective] Of `columns`, C x own samples (maybe none): first the mean, then products of
/// centred samples, since raw second moments lose digits when the mean is large. `groups` cuts the
/// channels into contiguous blocks. Sums and products are in double: rounding of single precision
/// would show in small eigenvalues. All ranks must run backward. Throws InputError (agreed) when no
/// rank has a sample.
GlobalMoments global_moments(const Communicator& communicator, const torch::Tensor& columns,
                             std::int64_t groups);

}  // namespace eigenscale
