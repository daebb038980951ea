#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "eigenscale/data/row_provider.h"

namespace eigenscale {

/// [local] Scales the rows of a contiguous float or double tensor to unit length, in place; rows of
/// zeros stay. The result of a row depends on that row alone, to the bit. Returns the number of
/// rows of zeros.
std::int64_t scale_to_unit_rows(const torch::Tensor& rows);

/// [local] Whether row i of such a tensor is all zeros.
bool is_zero_row(const torch::Tensor& rows, std::int64_t i);

/// The rows of another provider as the subspace model sees them: unit vectors of features, read and
/// made a piece at a time. Borrows the provider.
class UnitRows final : public RowProvider {
 public:
  /// `constant` other than 0 is appended to every row before it is scaled, so that subspaces need
  /// not contain the origin.
  explicit UnitRows(const RowProvider& rows, double constant = 0);
  torch::Tensor read(RowRange range, torch::ScalarType type) const override;
  torch::Tensor read_at(const std::vector<std::int64_t>& positions,
                        torch::ScalarType type) const override;
  bool reads_beside_others() const override { return rows_.reads_beside_others(); }

 private:
  torch::Tensor unit(const torch::Tensor& rows) const;

  const RowProvider& rows_;
  double constant_;
};

}  // namespace eigenscale
