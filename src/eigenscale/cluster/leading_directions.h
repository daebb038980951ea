#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/row_provider.h"

namespace eigenscale {

/// Rows of more features than this are reduced before subspaces are sought in them ...
constexpr std::int64_t kWideRows = 256;
/// ... to so many.
constexpr std::int64_t kReducedFeatures = 150;
/// Rows that the directions are found in, at most.
constexpr std::int64_t kDirectionSample = 20000;

struct LeadingDirections {
  torch::Tensor directions;  ///< D x r double, orthonormal
  torch::Tensor moments;     ///< r, mean square of the rows along each, descending
};

/// [collective] The r directions that hold most of the energy of a fixed sample of kDirectionSample
/// rows, on all ranks; the mean is not taken out, since subspaces contain the origin. Ranks hold a
/// block of D x D, and D x r.
LeadingDirections leading_directions(const Communicator& world, const RowPartition& partition,
                                     const RowProvider& rows, std::int64_t count,
                                     std::uint64_t seed);

}  // namespace eigenscale
