#pragma once

#include <memory>
#include <optional>
#include <string>

#include "eigenscale/cluster/clustering_snapshots.h"
#include "eigenscale/cluster/fine_tuning.h"
#include "eigenscale/cluster/pipeline.h"
#include "eigenscale/cluster/self_expressive_layer.h"
#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

/// How the phases of a clustering by coefficients over all samples stand in its snapshots.

/// [collective] Behind a step of fine-tuning: a snapshot when it is time for one, and after the
/// last.
void step_fine_tuning(ClusteringSnapshots& snapshots, const Autoencoder& autoencoder,
                      const SelfExpressiveLayer& layer, const FineTuningProgress& progress,
                      bool last);
/// [collective] Fills network and coefficients as they stood, and says where; at step 0 when
/// nothing is noted. `own` are this rank's rows.
FineTuningProgress take_fine_tuning(ClusteringSnapshots& snapshots, Autoencoder& autoencoder,
                                    SelfExpressiveLayer& layer, const RowRange& own);

/// [local] What has been measured so far, and singular values and solvers; null parts are left out.
void note_findings(ClusteringSnapshots& snapshots, const ClusteringResult& result);
void take_findings(const ClusteringSnapshots& snapshots, ClusteringResult& result);

/// [collective] A snapshot of the baselines, unless a later phase has one.
void save_baselines(ClusteringSnapshots& snapshots, const ClusteringResult& result);

/// [collective] The affinity, in its layout on `grid`.
void save_affinity(ClusteringSnapshots& snapshots, const ClusteringResult& result,
                   const DistributedMatrix& affinity, const RowPartition& partition);
/// [collective] Nothing where it is not known.
std::optional<DistributedMatrix> take_affinity(ClusteringSnapshots& snapshots,
                                               std::shared_ptr<const ProcessGrid> grid,
                                               const RowPartition& partition, int rank);

/// [collective] A snapshot of the result: labels and embedding. It takes the place of all others.
void save_result(ClusteringSnapshots& snapshots, const ClusteringResult& result);
/// [collective] False when there is none.
bool take_result(const ClusteringSnapshots& snapshots, const RowRange& own,
                 ClusteringResult& result);

}  // namespace eigenscale
