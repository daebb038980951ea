#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/row_provider.h"

namespace eigenscale {

/// The rows of a provider on the other side, carried piece by piece: rows of the host where tensors
/// live, as the site "rows", or, for what works on a sample of them, rows that live there on the
/// host, as the site "sampled rows". Borrows the provider.
class CarriedRows final : public RowProvider {
 public:
  enum class To { kDevice, kHost };

  CarriedRows(To to, const RowProvider& rows, const Placement& placement)
      : RowProvider(rows.rows(), rows.features()), to_(to), rows_(rows), placement_(placement) {}
  torch::Tensor read(RowRange range, torch::ScalarType type) const override {
    return carry(rows_.read(range, type));
  }
  torch::Tensor read_at(const std::vector<std::int64_t>& positions,
                        torch::ScalarType type) const override {
    return carry(rows_.read_at(positions, type));
  }
  bool reads_beside_others() const override { return rows_.reads_beside_others(); }

 private:
  torch::Tensor carry(const torch::Tensor& rows) const {
    return to_ == To::kDevice ? placement_.to_device(rows, "rows")
                              : placement_.to_host(rows, "sampled rows");
  }

  To to_;
  const RowProvider& rows_;
  Placement placement_;
};

}  // namespace eigenscale
