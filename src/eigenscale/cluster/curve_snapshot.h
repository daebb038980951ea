#pragma once

#include "eigenscale/cluster/clustering_snapshots.h"
#include "eigenscale/cluster/curve_learning.h"

namespace eigenscale {

/// [local] Where the learning of curves stands.
void note_curves(ClusteringSnapshots& snapshots, const CurveProgress& progress);
CurveProgress noted_curves(const ClusteringSnapshots& snapshots);

}  // namespace eigenscale
