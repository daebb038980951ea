#pragma once

#include <torch/torch.h>

namespace eigenscale {

/// [local] sum += addend for two-dimensional tensors of one shape with contiguous rows: doubles,
/// and floats or doubles. torch would first make a copy of the floats in double.
void add_widened(const torch::Tensor& sum, const torch::Tensor& addend);

}  // namespace eigenscale
