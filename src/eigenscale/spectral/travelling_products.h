#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/comm/placement.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// Products with matrices of D rows that are dealt out over ranks in blocks of rows
/// (RowPartition(D, P)), on devices. Block after block travels from its rank to all, the next one
/// while the present one is multiplied; a rank holds its own block and two more.

/// The sum of X^T X over the rows of all ranks, double. Beside it a rank holds the rows of two
/// ranks.
class DeviceGram {
 public:
  /// [local] D x D zeros.
  DeviceGram(const Placement& placement, std::int64_t features);

  /// [collective] This rank's rows, m x D on the device, float or double; m may differ between
  /// ranks. Those of float are multiplied in single precision, kSingleProducts at a time, and
  /// their products are added in double (linalg/gram.h has the bound).
  void add(const torch::Tensor& rows);
  /// [local] This rank's rows of the sum, on the host.
  torch::Tensor own_rows() const;

 private:
  Placement placement_;
  RowRange own_;
  torch::Tensor sum_;  ///< own rows x D
};

/// X W for a W (D x k) in blocks of rows.
class DeviceProduct {
 public:
  /// [local] `own_rows` of W on the host, in the type of the products.
  DeviceProduct(const Placement& placement, std::int64_t rows, const torch::Tensor& own_rows);

  std::int64_t columns() const { return own_.size(1); }
  torch::ScalarType type() const { return own_.scalar_type(); }
  /// [collective] This rank's rows, m x D on the device, of W's type; m may differ between ranks.
  torch::Tensor operator()(const torch::Tensor& rows) const;

 private:
  Placement placement_;
  RowPartition partition_;
  torch::Tensor own_;
};

}  // namespace eigenscale
