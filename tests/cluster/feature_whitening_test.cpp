#include "eigenscale/cluster/feature_whitening.h"

#include <cmath>

#include "cluster_test_support.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/data/row_provider.h"

namespace eigenscale {
namespace {

using test::own;
using test::world;

constexpr std::int64_t kSamples = 3000;
constexpr std::int64_t kFeatures = 12;

/// All rows on every rank; along orthonormal directions with these standard deviations.
torch::Tensor uneven_rows(const torch::Tensor& deviations) {
  const auto directions = random_bases(1, kFeatures, kFeatures, 5, torch::kFloat64)[0];
  return (test::random_matrix(kSamples, kFeatures, 3) * deviations).mm(directions.t()).contiguous();
}

LeadingDirections all_directions(const torch::Tensor& rows) {
  const MemoryRows mine(own(rows));
  return leading_directions(world(), RowPartition(kSamples, world().size()), mine, kFeatures, 1);
}

torch::Tensor moments_of(const torch::Tensor& rows) {
  return std::get<0>(torch::linalg_eigh(rows.t().mm(rows) / rows.size(0), "L")).flip(0);
}

// The sample is all rows, in single precision: 2^-24 of the largest moment, and of a share of the
// whitening as much of its own.
constexpr double kRounding = 1e-5;

TEST(FeatureWhitening, RaisesTheMomentsToWhatIsLeftOfTheirPower) {
  const auto rows = uneven_rows(torch::logspace(0, -2, kFeatures, 10, torch::kFloat64));
  const auto all = all_directions(rows);
  const auto before = moments_of(rows);
  EXPECT_LT(((all.moments - before) / before[0]).abs().max().item<double>(), kRounding);
  for (const double share : {0.0, 0.5, 1.0}) {
    const auto whitening = feature_whitening(all, share);
    EXPECT_LT((whitening - whitening.t()).abs().max().item<double>(), 1e-12 * std::pow(1e4, share));
    const auto after = moments_of(rows.mm(whitening));
    const auto expected = (before / before[0]).pow(1 - share) * before[0];
    EXPECT_LT(((after - expected) / expected).abs().max().item<double>(), 1e4 * kRounding) << share;
  }
}

TEST(FeatureWhitening, LeavesSubspacesSubspaces) {
  const auto inside = random_bases(1, kFeatures, 3, 8, torch::kFloat64)[0];
  const auto rows = test::random_matrix(kSamples, 3, 4).mm(inside.t()) +
                    1e-12 * test::random_matrix(kSamples, kFeatures, 6);
  const auto other = uneven_rows(torch::logspace(0, -2, kFeatures, 10, torch::kFloat64));
  const auto mapped = rows.mm(feature_whitening(all_directions(other), 0.5));
  const auto moments = moments_of(mapped);
  EXPECT_GT((moments[2] / moments[0]).item<double>(), 1e-4);
  EXPECT_LT((moments[3] / moments[0]).item<double>(), 1e-14);
}

TEST(FeatureWhitening, StaysFiniteWhereNothingVaries) {
  auto deviations = torch::ones({kFeatures}, torch::kFloat64);
  deviations.narrow(0, 6, 6).zero_();
  const auto whitening = feature_whitening(all_directions(uneven_rows(deviations)), 1);
  EXPECT_TRUE(torch::isfinite(whitening).all().item<bool>());
  // A millionth of the largest moment is the smallest that counts.
  EXPECT_LE(whitening.abs().max().item<double>(), 1e3 * (1 + 1e-9));

  const auto nothing = feature_whitening(all_directions(torch::zeros({kSamples, kFeatures})), 1);
  EXPECT_TRUE(nothing.equal(torch::eye(kFeatures, torch::kFloat64)));
}

}  // namespace
}  // namespace eigenscale
