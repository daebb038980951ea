#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "eigenscale/cluster/clustering_run.h"
#include "eigenscale/cluster/subspace_model.h"
#include "eigenscale/cluster/unit_rows.h"
#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/device_rows.h"
#include "eigenscale/data/row_provider.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {

/// The rows of a run with a subspace model, from the files to what is compared with subspaces: raw
/// rows, and once the model says how, unit rows of features. Borrows communicator, options, model.
class RunRows {
 public:
  /// [collective] Opens the files. Unit rows will lie as `placement` says. InputError (agreed) for
  /// what cannot be clustered.
  RunRows(const Placement& placement, const ClusteringRunOptions& options);

  const RowPartition& partition() const { return partition_; }
  /// Of one sample, as the files have it.
  const std::vector<std::int64_t>& sample_shape() const { return sample_shape_; }
  /// This rank's, as the files have them, scaled.
  const RowProvider& raw() const { return *raw_; }
  /// [collective] All raw rows of this rank in memory, in the precision of the run.
  torch::Tensor hold_raw() const { return hold(*raw_, world_); }

  /// [local] Subspaces must be smaller than the space: InputError, which counts as agreed, for rows
  /// of so few features.
  void require_room(std::int64_t features) const;

  /// [collective] From now on there are unit rows, by the model's encoder or directions; the
  /// whitening of their features and, where the run is affine, the model's constant are chosen
  /// unless it has them. They are held where a rank has few of them, and more where they are dear
  /// to make.
  void make_unit_rows(SubspaceModel& model);
  const RowProvider& unit() const { return *unit_; }
  /// The same on the host, for what works on a sample of them.
  const RowProvider& unit_on_host() const { return unit_on_host_ ? *unit_on_host_ : *unit_; }
  bool held() const { return held_; }
  /// Share of the whitening of features, 0 to 1.
  double whitening() const { return whitening_; }
  /// [local] What a rank has of them in memory, labels and residuals included.
  std::int64_t bytes_of_rank() const;

 private:
  torch::Tensor hold(const RowProvider& rows, const Placement& placement) const;
  double typical_length() const;
  double whitening_share(const SubspaceModel& model) const;

  Placement placement_;
  const Communicator& world_;
  const ClusteringRunOptions& options_;
  torch::ScalarType type_;
  std::unique_ptr<SampleSource> source_;
  RowPartition partition_;
  std::vector<std::int64_t> sample_shape_;
  std::unique_ptr<FileRows> raw_;
  std::unique_ptr<CarriedRows> placed_;
  std::unique_ptr<FeatureRows> features_;
  std::unique_ptr<UnitRows> streamed_;
  std::unique_ptr<MemoryRows> in_memory_;
  const RowProvider* unit_ = nullptr;
  std::unique_ptr<CarriedRows> unit_on_host_;  ///< null where they are there already
  bool held_ = false;
  double whitening_ = 0;
};

}  // namespace eigenscale
