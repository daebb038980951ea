#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "eigenscale/comm/placement.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {

/// The rows of one rank, from wherever they lie: read a range at a time, as flat rows of
/// `features()` numbers. Rows are counted from the rank's first. Used by one thread at a time.
class RowProvider {
 public:
  virtual ~RowProvider() = default;
  RowProvider(const RowProvider&) = delete;
  RowProvider& operator=(const RowProvider&) = delete;

  std::int64_t rows() const { return rows_; }
  std::int64_t features() const { return features_; }

  /// [local] The rows of `range` (within 0 .. rows()), range.size() x features, of floating point
  /// `type`; finite. Not to be changed: it may be the provider's own memory. InputError.
  virtual torch::Tensor read(RowRange range, torch::ScalarType type) const = 0;

  /// [local] The rows at `positions`, in that order, as `read` gives them, to the bit; here with
  /// one read for each run of neighbours. InputError.
  virtual torch::Tensor read_at(const std::vector<std::int64_t>& positions,
                                torch::ScalarType type) const;

  /// True when a thread may read while others do anything else but read from this provider.
  virtual bool reads_beside_others() const { return true; }

 protected:
  RowProvider(std::int64_t rows, std::int64_t features) : rows_(rows), features_(features) {}

 private:
  std::int64_t rows_;
  std::int64_t features_;
};

/// The rows `own` of a file, values multiplied by `scale` and checked (see read_samples). Holds
/// none of them; borrows the source. Where every read notices
/// that somebody wrote to the file since it was opened, by its size and time, rows are checked in
/// the first pass over them alone: a tenth of later passes.
class FileRows final : public RowProvider {
 public:
  FileRows(const SampleSource& source, RowRange own, double scale = 1);
  torch::Tensor read(RowRange range, torch::ScalarType type) const override;
  bool reads_beside_others() const override { return source_.reads_beside_others(); }

 private:
  const SampleSource& source_;
  RowRange own_;
  double scale_;
  /// So many rows from the first on are known to be finite, as float and as double.
  mutable std::int64_t finite_as_float_ = 0;
  mutable std::int64_t finite_as_double_ = 0;
};

/// Rows that are in memory, n x shape, already checked. Shares the tensor.
class MemoryRows final : public RowProvider {
 public:
  explicit MemoryRows(const torch::Tensor& rows);
  /// Rows that lie as `placement` says.
  MemoryRows(const torch::Tensor& rows, const Placement& placement);
  torch::Tensor read(RowRange range, torch::ScalarType type) const override;
  torch::Tensor read_at(const std::vector<std::int64_t>& positions,
                        torch::ScalarType type) const override;

 private:
  torch::Tensor values_;
  std::optional<Placement> placement_;
};

}  // namespace eigenscale
