#pragma once

#include <torch/torch.h>

#include "eigenscale/linalg/block_cyclic_layout.h"

namespace eigenscale {

/// A dense matrix in block-cyclic layout: the layout and this rank's part, which copies share.
/// The part is column-major: local_rows x local_columns with strides (1, leading dimension). No
/// autograd graph.
class DistributedMatrix {
 public:
  DistributedMatrix() = default;
  /// [local] Takes `local` as it is; std::invalid_argument unless its shape and strides fit.
  DistributedMatrix(BlockCyclicLayout layout, torch::Tensor local);
  /// [local]
  static DistributedMatrix zeros(const BlockCyclicLayout& layout, torch::ScalarType type);

  const BlockCyclicLayout& layout() const { return layout_; }
  const torch::Tensor& local() const { return local_; }
  torch::Tensor& local() { return local_; }
  torch::ScalarType scalar_type() const { return local_.scalar_type(); }
  std::int64_t leading_dimension() const;

  /// [local] The same matrix in `type`; shares storage when it has it already.
  DistributedMatrix to(torch::ScalarType type) const;
  /// [local] A copy of its own.
  DistributedMatrix clone() const;

 private:
  BlockCyclicLayout layout_;
  torch::Tensor local_;
};

/// [local] An uninitialised column-major rows x columns tensor.
torch::Tensor empty_column_major(std::int64_t rows, std::int64_t columns, torch::ScalarType type);

}  // namespace eigenscale
