#pragma once

#include <vector>

#include "eigenscale/cluster/clustering_snapshots.h"
#include "eigenscale/cluster/landmark_clustering.h"
#include "eigenscale/cluster/subspace_model.h"
#include "eigenscale/cluster/subspace_refinement.h"

namespace eigenscale {

/// How the phases of a run with landmarks stand in its snapshots: all of it is whole on every rank
/// and small, since labels are a function of rows and bases. Everything is [local].

/// Starts whose landmarks are clustered; none when none are noted.
void note_starts(ClusteringSnapshots& snapshots, const StartLabels& starts);
StartLabels noted_starts(const ClusteringSnapshots& snapshots);

/// The subspaces of the landmarks; they take the place of the starts.
void note_landmark_model(ClusteringSnapshots& snapshots, const LandmarkModel& model);
bool has_landmark_model(const ClusteringSnapshots& snapshots);
LandmarkModel noted_landmark_model(const ClusteringSnapshots& snapshots);

/// Where the refinement stands; without any pass when nothing is noted.
void note_refinement(ClusteringSnapshots& snapshots, const RefinementProgress& progress);
RefinementProgress noted_refinement(const ClusteringSnapshots& snapshots);

/// The refined subspaces, bases and spectra of a model in their final order, and the passes.
void note_refined(ClusteringSnapshots& snapshots, const SubspaceModel& model,
                  const std::vector<RefinementPass>& passes);
bool has_refined(const ClusteringSnapshots& snapshots);
std::vector<RefinementPass> take_refined(const ClusteringSnapshots& snapshots,
                                         SubspaceModel& model);

}  // namespace eigenscale
