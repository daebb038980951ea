#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace eigenscale {

struct AdamOptions {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

/// [local] One Adam step (Kingma and Ba, ICLR 2015, the variant before section 2.1, which is
/// TensorFlow's) in one pass over memory:
///
///   m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,
///   p <- p - lr sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + epsilon),   t = `step` >= 1.
///
/// torch::optim::Adam adds epsilon to sqrt(v / (1 - b2^t)) instead, which is this rule with
/// epsilon sqrt(1 - b2^t): the two differ only where |g| is not much larger than epsilon.
///
/// On a device by the operations of `adam_update_by_operations`.
///
/// All four tensors have the same shape, strides and element type (float or double), and are
/// contiguous or two-dimensional with unit stride in either dimension (panels of a larger matrix).
void adam_update(const torch::Tensor& parameter, const torch::Tensor& gradient,
                 const torch::Tensor& first_moment, const torch::Tensor& second_moment,
                 std::int64_t step, const AdamOptions& options);

/// [local] The same by libtorch's operations, wherever the tensors are; equal to it but for
/// rounding.
void adam_update_by_operations(const torch::Tensor& parameter, const torch::Tensor& gradient,
                               const torch::Tensor& first_moment,
                               const torch::Tensor& second_moment, std::int64_t step,
                               const AdamOptions& options);

}  // namespace eigenscale
