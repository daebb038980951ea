#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eigenscale/cluster/landmark_clustering.h"
#include "eigenscale/cluster/metrics.h"
#include "eigenscale/cluster/row_labelling.h"
#include "eigenscale/cluster/subspace_model.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// How residuals are spread: counts of rows over all ranks in equal bins from 0 to `largest`.
struct ResidualHistogram {
  double largest = 0;
  std::vector<double> counts;
  /// Rows far beyond the bulk, above `bound`: three interquartile ranges over the upper quartile.
  double bound = 0;
  std::int64_t suspected_outliers = 0;
};

/// [collective] Of this rank's float32 residuals.
ResidualHistogram residual_histogram(const Communicator& world, const torch::Tensor& residuals);

/// What the report of a run with a subspace model draws; parts that a run has not are null.
struct SubspaceFindings {
  const RowLabelling* labelling = nullptr;
  const SubspaceModel* model = nullptr;
  const LandmarkModel* landmarks = nullptr;
  const std::vector<RefinementPass>* passes = nullptr;
  ResidualHistogram residuals = {};
  std::map<std::string, ClusteringMetrics> metrics = {};  ///< by name; "": the result
};

/// What it shows of images; parts may be undefined.
struct SubspacePictures {
  torch::Tensor directions, residuals;  ///< see cluster/subspace_pictures.h
};

/// [collective] report.html of such a run; empty but on rank 0. `rows` are this rank's unit rows of
/// `partition`, of which a few thousand are drawn.
std::string subspace_report(const Communicator& world, const RowPartition& partition,
                            const RowProvider& rows, const SubspaceFindings& findings,
                            const SubspacePictures& pictures, std::uint64_t seed,
                            const nlohmann::json& summary);

}  // namespace eigenscale
