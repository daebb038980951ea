#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/comm/placement.h"

namespace eigenscale {

/// Where rows belong, a piece of m rows at a time: written by SubspaceAssigner.
struct RowAssignment {
  torch::Tensor labels;     ///< m, int64
  torch::Tensor residuals;  ///< m, float32
  /// m x K float32, squared length of a row's projection on each subspace; undefined: not wanted.
  torch::Tensor projections = {};
};

/// Assigns unit rows z to the nearest of K subspaces with orthonormal bases U_k:
///   argmin_k max(0, 1 - ||U_k^T z||^2), the lowest k on ties.
/// A row of zeros has residual 1 and label 0.
///
/// Results of a row depend on the row, its global index and the bases alone, to the bit, whatever
/// piece or rank it comes in: rows are multiplied in blocks of one size that begin at multiples of
/// it in the global order, filled up with zeros where a rank has only a part.
class SubspaceAssigner {
 public:
  static constexpr std::int64_t kBlock = 512;
  /// On a device, which does more at once.
  static constexpr std::int64_t kDeviceBlock = 4096;

  /// [local] `bases` is K x d x s, of the rows' type.
  explicit SubspaceAssigner(const torch::Tensor& bases);
  /// [local] For rows that lie as `placement` says; `bases` are on the host.
  SubspaceAssigner(const Placement& placement, const torch::Tensor& bases);

  /// [local] `rows` is m x d, contiguous; the first has the global index `first`. The result lies
  /// where the rows do.
  void assign(const torch::Tensor& rows, std::int64_t first, const RowAssignment& result) const;

 private:
  void assign_block(const torch::Tensor& products, const RowAssignment& result) const;

  bool on_device_ = false;
  std::int64_t clusters_;
  std::int64_t features_;
  std::int64_t dimension_;
  torch::Tensor wide_;  // d x K s
  torch::Tensor block_;
  torch::Tensor products_;
};

}  // namespace eigenscale
