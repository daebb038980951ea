#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/row_provider.h"

namespace eigenscale {

/// [local] Scales the rows of a contiguous float or double tensor to unit length, in place; rows of
/// zeros stay. The result of a row depends on that row alone, to the bit. Returns the number of
/// rows of zeros.
std::int64_t scale_to_unit_rows(const torch::Tensor& rows);

/// [local] Whether row i of such a tensor is all zeros.
bool is_zero_row(const torch::Tensor& rows, std::int64_t i);

/// [local] The same on a device, where the last bit may be another. NumericalError for numbers that
/// are not finite.
void scale_to_unit_rows_on_device(const Placement& placement, torch::Tensor& rows);

/// [local] Which rows of a tensor on a device are all zeros, of those with residual 1.
torch::Tensor zero_rows_on_device(const torch::Tensor& rows, const torch::Tensor& residuals);

/// The rows of another provider as the subspace model sees them: unit vectors of features, read and
/// made a piece at a time. Borrows the provider.
class UnitRows final : public RowProvider {
 public:
  /// `constant` other than 0 is appended to every row before it is scaled, so that subspaces need
  /// not contain the origin.
  explicit UnitRows(const RowProvider& rows, double constant = 0);
  /// Of rows that lie as `placement` says.
  UnitRows(const RowProvider& rows, double constant, const Placement& placement);
  torch::Tensor read(RowRange range, torch::ScalarType type) const override;
  torch::Tensor read_at(const std::vector<std::int64_t>& positions,
                        torch::ScalarType type) const override;
  bool reads_beside_others() const override { return rows_.reads_beside_others(); }

 private:
  torch::Tensor unit(const torch::Tensor& rows) const;

  const RowProvider& rows_;
  double constant_;
  std::optional<Placement> device_;  ///< where it is one
};

}  // namespace eigenscale
