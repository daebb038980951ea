#pragma once

#include <cstdint>

#include "eigenscale/nn/network.h"

namespace eigenscale {

/// [local] Median seconds of a forward pass of `batch` samples in evaluation mode, on the
/// threads torch has here: of as many as fit into `seconds`, the first one left out, or one.
double forward_latency(Network& network, std::int64_t batch, double seconds);

}  // namespace eigenscale
