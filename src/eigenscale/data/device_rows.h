#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/row_provider.h"

namespace eigenscale {

/// The rows of a provider on the host where tensors live: carried to the device piece by piece, as
/// the site "rows". Borrows the provider.
class RowsOnDevice final : public RowProvider {
 public:
  RowsOnDevice(const RowProvider& rows, const Placement& placement)
      : RowProvider(rows.rows(), rows.features()), rows_(rows), placement_(placement) {}
  torch::Tensor read(RowRange range, torch::ScalarType type) const override {
    return placement_.to_device(rows_.read(range, type), "rows");
  }
  torch::Tensor read_at(const std::vector<std::int64_t>& positions,
                        torch::ScalarType type) const override {
    return placement_.to_device(rows_.read_at(positions, type), "rows");
  }
  bool reads_beside_others() const override { return rows_.reads_beside_others(); }

 private:
  const RowProvider& rows_;
  Placement placement_;
};

/// The way back, for what works on a sample of the rows: as the site "sampled rows".
class RowsOnHost final : public RowProvider {
 public:
  RowsOnHost(const RowProvider& rows, const Placement& placement)
      : RowProvider(rows.rows(), rows.features()), rows_(rows), placement_(placement) {}
  torch::Tensor read(RowRange range, torch::ScalarType type) const override {
    return placement_.to_host(rows_.read(range, type), "sampled rows");
  }
  torch::Tensor read_at(const std::vector<std::int64_t>& positions,
                        torch::ScalarType type) const override {
    return placement_.to_host(rows_.read_at(positions, type), "sampled rows");
  }
  bool reads_beside_others() const override { return rows_.reads_beside_others(); }

 private:
  const RowProvider& rows_;
  Placement placement_;
};

}  // namespace eigenscale
