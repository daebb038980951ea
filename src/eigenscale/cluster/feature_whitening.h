#pragma once

#include <torch/torch.h>

#include "eigenscale/cluster/leading_directions.h"

namespace eigenscale {

/// Share of the whitening of features that an encoder or a reduction makes. An encoder trained to
/// reconstruct, and leading directions of pixels, give each direction the energy that it has in the
/// samples, of which brightness and outline take nearly all; whole whitening gives noise as much as
/// the rest. docs/decisions.md has what halves do on four data sets.
constexpr double kFeatureWhitening = 0.5;
/// Features beyond so many are left as they are, since the matrices are on every rank.
constexpr std::int64_t kMostWhitened = 2048;

/// [local] V diag(l / l_1)^(-share / 2) V^T of all r directions V and their moments l, r x r,
/// double, symmetric: 1 makes the rows white, 0 leaves them. Moments below a millionth of the
/// largest count as that. A linear map with an inverse: what lies in subspaces does so behind it.
torch::Tensor feature_whitening(const LeadingDirections& all, double share);

}  // namespace eigenscale
