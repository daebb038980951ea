#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>

#include "eigenscale/cluster/landmark_clustering.h"
#include "eigenscale/cluster/pipeline.h"
#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/row_provider.h"
#include "eigenscale/nn/feature_curves.h"

namespace eigenscale {

/// Rows have at most so many features where curves are learned: every rank holds the sample.
constexpr std::int64_t kMostCurves = 256;
/// Rows of that sample, where there are so many: enough for each of K clusters.
constexpr std::int64_t most_curve_rows(std::int64_t clusters) {
  return std::max<std::int64_t>(10000, kLandmarksOfCluster * clusters);
}

/// [local] InputError, which counts as agreed, where the rows of `data` have more features.
void require_few_features(std::int64_t features, const std::string& data);

/// One step of a round, before its update.
struct CurveStep {
  std::int64_t round = 0;     ///< from 1
  std::int64_t step = 0;      ///< from 1
  double log_likelihood = 0;  ///< of a row, up to a constant
  double objective = 0;       ///< mean squared distance of the sample's unit rows to their subspace
};

/// Where the learning stands behind a round, the same on all ranks: what it goes on from.
struct CurveProgress {
  std::int64_t rounds = 0;
  torch::Tensor parameters;    ///< of CurveParameters; undefined before the first round
  FeatureCurves curves;        ///< that these are
  double objective = 0;        ///< of the landmarks' subspaces that the round began with
  std::int64_t dimension = 0;  ///< of these
  bool done = false;           ///< there is no next round
};

/// On all ranks. `round` follows every round and may end the work by an exception on all of them.
struct CurveEvents {
  std::function<void(const CurveStep&)> step;
  std::function<void(const CurveProgress&)> round;
};
constexpr std::int64_t kCurveSteps = 200;  ///< of a round
constexpr std::int64_t kCurveRounds = 3;

/// [collective] Finds a monotone curve for each feature so that the rows lie in K subspaces behind
/// the curves: no reference label is seen. A round clusters landmarks (cluster_landmarks, which
/// also finds the dimension s where options give none), and from their subspaces on alternates
/// these with steps of Adam on the curves, over a sample of the rows that is split over the ranks.
/// What is maximised is the likelihood of the rows as they come: of Gaussians around subspaces
/// (Tipping and Bishop, Neural Computation 1999) behind a change of variables,
///
///   (s - D) / 2 log(mean squared distance of unit rows) + sum_j mean log g_j'(x_j),
///
/// each g_j(x_j) with mean 0 and variance 1. The density within the subspaces and of the rows'
/// lengths is left out. Without the second term curves would win by crushing the rows into a few
/// points, where any subspace fits them. Alone it is largest where every feature is Gaussian.
///
/// Since the mean is taken out, subspaces contain it and not the file's origin.
///
/// `rows` are this rank's, scaled, of `partition`. InputError (agreed) as cluster_landmarks,
/// NumericalError where the likelihood is not finite.
FeatureCurves learn_feature_curves(const Communicator& world, const RowPartition& partition,
                                   const RowProvider& rows, const ClusteringOptions& clustering,
                                   const LandmarkOptions& options, CurveProgress from,
                                   const CurveEvents& events);

}  // namespace eigenscale
