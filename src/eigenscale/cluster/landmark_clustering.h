#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "eigenscale/cluster/pipeline.h"
#include "eigenscale/cluster/subspace_dimension.h"
#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/row_provider.h"

namespace eigenscale {

struct LandmarkOptions {
  std::int64_t landmarks = 0;  ///< m; see default_landmarks
  std::int64_t draws = 3;
  std::int64_t dimension = 0;  ///< s of all subspaces; 0: chosen from the landmarks
  /// Labels of the first draw's landmarks where they are known already (of this rank's rows, these
  /// lying as a RowPartition of m says), with one draw; undefined: they are found by
  /// self-expression.
  torch::Tensor labels = {};
};

/// One start of the subspace model, refined on its landmarks.
struct LandmarkCandidate {
  std::string start;     ///< such as "draw 2, self-expression"
  double objective = 0;  ///< on the common sample
};

struct LandmarkModel {
  torch::Tensor bases;            ///< of the best candidate, K x d x s, on all ranks
  torch::Tensor unrefined_bases;  ///< of the best start's landmark labels as they were found
  std::int64_t best = 0;          ///< index of the best candidate
  std::vector<LandmarkCandidate> candidates;
  /// Of each draw by self-expression and by cosines; empty when the dimension was given.
  std::vector<DimensionChoice> dimension_choices;
  std::int64_t dimension = 0;
  /// Given, or shown by most starts; otherwise the default, of subspaces that the rows only lie
  /// near.
  bool dimension_stands_out = true;
  std::int64_t sample = 0;         ///< rows of the common sample
  std::int64_t distinct_rows = 0;  ///< among the landmarks of the first draw
};

/// How far the starts have come, two of each draw, the same on all ranks: what it goes on from.
struct StartLabels {
  std::int64_t starts = 0;         ///< that are clustered, the first ones
  torch::Tensor labels;            ///< of the landmarks of all starts, starts x m, int64
  std::int64_t distinct_rows = 0;  ///< see LandmarkModel
};

/// What it tells while it works, on all ranks. `starts` follows every round of starts and may end
/// the work by an exception on all ranks.
struct LandmarkEvents {
  std::function<void(const std::string& phase)> phase;
  std::function<void(const StartLabels&)> starts;
};

/// Landmarks of a cluster below which labels and subspaces of them are left to luck.
constexpr std::int64_t kLandmarksOfCluster = 40;

/// min(N, max(2000, 40 K)).
std::int64_t default_landmarks(std::int64_t samples, std::int64_t clusters);

/// [collective] Finds K subspaces from a few rows: in each of several draws m landmarks are
/// clustered by self-expression (`clustering`, on their unit rows) and by their cosines, which are
/// the closed form of a ridge beyond all bounds and do better where the subspaces together fill the
/// space; the subspaces are fitted to the labels of each and refined on the landmarks, and so is a
/// random start. The candidate with the smallest objective on a sample that is the same for all
/// wins: no reference label is seen. While m is small the starts are dealt out over the ranks, one
/// rank solves one. `rows` are this rank's unit rows of `partition`; `from` holds starts that an
/// earlier call has clustered. InputError (agreed) when there are fewer distinct landmarks than
/// clusters.
LandmarkModel cluster_landmarks(const Communicator& world, const RowPartition& partition,
                                const RowProvider& rows, const ClusteringOptions& clustering,
                                const LandmarkOptions& options, const StartLabels& from,
                                const LandmarkEvents& events);

/// [collective] Mean squared distance of the rows with these ascending global indices to the
/// nearest of the subspaces, for each of several bases (B x K x d x s): B doubles.
std::vector<double> sample_objectives(const Communicator& world, const RowPartition& partition,
                                      const RowProvider& rows,
                                      const std::vector<std::int64_t>& sample,
                                      const torch::Tensor& bases);

}  // namespace eigenscale
