#include "eigenscale/cluster/subspace_dimension.h"

#include <algorithm>

#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/cluster/subspace_sums.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kMostDimensions = 24;
// Unit rows that lie exactly in their subspaces leave some 1e-7 in single precision.
constexpr double kNothing = 1e-6;
// From so many features for each direction on, eigenproblems would be most of the search.
constexpr std::int64_t kManyFeatures = 4;

}  // namespace

std::int64_t elbow(const std::vector<DimensionTrial>& trials) {
  for (std::size_t i = 1; i < trials.size(); ++i) {
    if (trials[i].rest < kNothing) {
      return trials[i].dimension;
    }
    // One direction always holds much of rows that are no centred data, such as images.
    const bool falls = i > 1 && trials[i].rest < trials[i - 1].rest * 0.6;
    if (falls && i + 1 < trials.size() && trials[i + 1].rest > trials[i].rest * 2 / 3) {
      return trials[i].dimension;
    }
  }
  return 0;
}

DimensionChoice choose_dimension(const Communicator& communicator, const RowProvider& rows,
                                 const torch::Tensor& labels, std::int64_t clusters,
                                 torch::ScalarType type) {
  const std::int64_t features = rows.features();
  DimensionChoice choice;
  choice.trials.push_back({0, 1 / static_cast<double>(features)});
  // Leading eigenvectors are nested: one fit is enough for all dimensions.
  const std::int64_t most = std::min(kMostDimensions + 1, features - 1);  // an elbow needs the next
  const bool nested = SubspaceSums::by_moments(clusters, features) && most > 0;
  torch::Tensor widest;
  if (nested) {
    widest = fit_subspaces(communicator, rows, labels, clusters, most, type);
  }
  for (std::int64_t s = 1; s <= most && choice.dimension == 0; ++s) {
    const auto start = nested ? widest.narrow(2, 0, s).contiguous()
                              : fit_subspaces(communicator, rows, labels, clusters, s, type);
    const bool iterate = features > kManyFeatures * (s + SubspaceSums::kMoreColumns);
    const auto fitted = refine_subspaces(
        communicator, rows, start,
        {.label_share = 1e-3, .objective_share = 1e-3, .spectra = false, .iterate = iterate});
    choice.trials.push_back({s, fitted.objective / static_cast<double>(features - s)});
    choice.dimension = elbow(choice.trials);
  }
  return choice;
}

}  // namespace eigenscale
