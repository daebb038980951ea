#include "eigenscale/cluster/curve_learning.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "cluster_test_support.h"
#include "eigenscale/cluster/curve_likelihood.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/cluster/unit_rows.h"
#include "eigenscale/data/synthetic.h"

namespace eigenscale {
namespace {

using test::own;
using test::world;

torch::Tensor sample_of(std::int64_t rows, std::int64_t features) {
  return test::random_matrix(rows, features, 4).tanh() + 3;
}

void bend(CurveParameters& parameters, double by) {
  const torch::NoGradGuard no_grad;
  const auto values = parameters.parameters().front();
  values.copy_(by * test::random_matrix(values.size(0), values.size(1), 9));
}

TEST(CurveParameters, BeginAsStraightLines) {
  const auto sample = sample_of(900, 3);
  const auto curves = CurveParameters(sample).curves();
  EXPECT_TRUE(are_feature_curves(curves));
  const auto rows = sample_of(50, 3) * 1.5 - 1;  // some beyond the outer knots
  const auto expected = (rows - sample.mean(0)) / sample.std(0, /*unbiased=*/false);
  EXPECT_LT((curves(rows) - expected).abs().max().item<double>(), 1e-12);
}

// The moments come of sums over the sample made once, not of the rows: both are the same.
TEST(CurveParameters, GiveTheSampleMeanZeroAndVarianceOne) {
  const auto sample = sample_of(900, 3);
  CurveParameters parameters(sample);
  bend(parameters, 1.0);
  const auto mapped = parameters.curves()(sample);
  EXPECT_LT(mapped.mean(0).abs().max().item<double>(), 1e-12);
  EXPECT_LT((mapped.var(0, /*unbiased=*/false) - 1).abs().max().item<double>(), 1e-12);
}

TEST(CurveParameters, KnowTheirSlopes) {
  const auto sample = sample_of(900, 3);
  CurveParameters parameters(sample);
  bend(parameters, 0.5);
  const auto curves = parameters.curves();
  // A little inwards: at the outermost knots the slope of a minimum is libtorch's to choose.
  auto places = curves.places(0.999 * sample + 0.001 * sample.mean(0));
  places.distance.requires_grad_(true);
  const auto slopes = torch::autograd::grad({curves.at(places).sum()}, {places.distance}).front();
  const double expected = slopes.log().sum().item<double>();
  EXPECT_NEAR(CurveParameters::log_slopes(curves, places, parameters.counted()).item<double>(),
              expected, 1e-12 * std::abs(expected) + 1e-9);
}

TEST(CurveParameters, LeaveSingleValuesStraightAndConstantsZero) {
  auto sample = sample_of(900, 3);
  sample.select(1, 1).copy_((sample.select(1, 0) > 3).to(torch::kFloat64));
  sample.select(1, 2).fill_(1e18);
  CurveParameters parameters(sample);
  bend(parameters, 1.0);
  const auto curves = parameters.curves();
  EXPECT_TRUE(are_feature_curves(curves));
  const auto mapped = curves(sample);
  const auto binary = sample.select(1, 1);
  EXPECT_LT((mapped.select(1, 1) - (binary - binary.mean()) / binary.std(0, /*unbiased=*/false))
                .abs()
                .max()
                .item<double>(),
            1e-12);
  EXPECT_TRUE((mapped.select(1, 2) == 0).all().item<bool>());
  CurveParameters::log_slopes(curves, curves.places(sample), parameters.counted()).backward();
  const auto gradient = parameters.parameters().front().grad();
  EXPECT_GT(gradient[0].abs().max().item<double>(), 0);
  EXPECT_TRUE((gradient.narrow(0, 1, 2) == 0).all().item<bool>());
}

// A third of the first feature is cut off at one value: it bends all the same, and that value does
// not count. Of the second feature too few values are different.
TEST(CurveParameters, DoNotCountValuesThatOccurAgain) {
  auto sample = sample_of(900, 2);
  const double bound = torch::quantile(sample.select(1, 0), 2.0 / 3).item<double>();
  sample.select(1, 0).clamp_max_(bound);
  sample.select(1, 1).copy_((sample.select(1, 1) * 100).round() / 100);
  CurveParameters parameters(sample);
  bend(parameters, 1.0);
  const auto curves = parameters.curves();
  EXPECT_TRUE(are_feature_curves(curves));
  EXPECT_TRUE(parameters.counted()[0].equal(sample.select(1, 0) < bound));
  EXPECT_FALSE(parameters.counted()[1].any().item<bool>());
  EXPECT_GT((curves.slopes[0].max() / curves.slopes[0].min()).item<double>(), 2);
  EXPECT_LT((curves.slopes[1].max() / curves.slopes[1].min()).item<double>(), 1 + 1e-12);
}

TEST(CurveLikelihood, DistanceIsThatToTheSubspaceOfEachRow) {
  const auto rows = test::random_matrix(60, 5, 2);
  scale_to_unit_rows(rows);
  const auto bases = random_bases(3, 5, 2, 7, torch::kFloat64);
  const auto labels = torch::arange(60) % 2 * 2;  // none in cluster 1
  const auto [sorted, order] = torch::sort(labels);
  const auto begin = torch::searchsorted(sorted, torch::arange(4));
  double expected = 0;
  for (std::int64_t i = 0; i < 60; ++i) {
    const auto basis = bases[labels[i].item<std::int64_t>()];
    expected += (rows[i] - basis.mv(basis.t().mv(rows[i]))).square().sum().item<double>();
  }
  EXPECT_NEAR(distance_to_subspaces(rows, order, begin, bases).item<double>(), expected, 1e-12);
}

struct Learned {
  FeatureCurves curves;
  std::vector<CurveStep> steps;
  std::int64_t rounds = 0;
};

constexpr std::int64_t kCurveRows = 3000;

SyntheticOptions bent(const std::string& kind, double noise) {
  SyntheticOptions options;
  options.kind = kind;
  options.samples = kCurveRows;
  options.ambient_dim = 9;
  options.subspace_dim = 6;
  options.clusters = 5;
  options.noise = noise;
  options.seed = 3;
  return options;
}

/// Of all rows, which every rank has, in subspaces of dimension s.
FeatureCurves learn_from(const torch::Tensor& all, std::int64_t clusters, std::int64_t dimension,
                         CurveProgress from, const CurveEvents& events) {
  const RowPartition partition(all.size(0), world().size());
  const MemoryRows rows(own(all));
  const std::int64_t landmarks = std::min<std::int64_t>(400, all.size(0));
  ClusteringOptions clustering;
  clustering.clusters = clusters;
  clustering.precision = torch::kFloat64;
  clustering.settings = landmark_settings(landmarks, clusters, {});
  clustering.closed_form = true;
  return learn_feature_curves(world(), partition, rows, clustering,
                              {.landmarks = landmarks, .draws = 1, .dimension = dimension},
                              std::move(from), events);
}

Learned learn(const torch::Tensor& all, CurveProgress from = {}) {
  Learned learned;
  learned.curves = learn_from(
      all, 5, 6, std::move(from),
      {.step = [&](const CurveStep& step) { learned.steps.push_back(step); },
       .round = [&](const CurveProgress& progress) { learned.rounds = progress.rounds; }});
  return learned;
}

/// Mean squared distance of the rows to the subspaces of their true clusters, which are fitted.
double distance_to_truth(const torch::Tensor& features, const torch::Tensor& labels) {
  const auto unit = features.clone();
  scale_to_unit_rows(unit);
  const MemoryRows rows(own(unit));
  const auto bases = fit_subspaces(world(), rows, own(labels), 5, 6, torch::kFloat64);
  double sum = 0;
  for (std::int64_t k = 0; k < 5; ++k) {
    const auto members = unit.index_select(0, (labels == k).nonzero().flatten());
    sum += (members.square().sum() - members.mm(bases[k]).square().sum()).item<double>();
  }
  return sum / kCurveRows;
}

// tanh of a random map of subspaces: behind the curves they are straight again, to the four digits
// that the knots give (without curves .01), and by no more than the sample's rows.
TEST(CurveLearning, StraightensSubspacesThatASaturationBends) {
  const auto [all, labels] = generate_rows(bent("nonlinear", 0), {0, kCurveRows});
  const auto rows = all.to(torch::kFloat64);
  EXPECT_GT(distance_to_truth(rows, labels), 5e-3);
  const auto learned = learn(rows);
  EXPECT_TRUE(are_feature_curves(learned.curves));
  EXPECT_LT(distance_to_truth(learned.curves(rows), labels), 1e-4);
  ASSERT_EQ(std::ssize(learned.steps), learned.rounds * kCurveSteps);
  for (std::int64_t round = 0; round < learned.rounds; ++round) {
    const auto* steps = &learned.steps[round * kCurveSteps];
    EXPECT_GT(steps[kCurveSteps - 1].log_likelihood, steps[0].log_likelihood);
  }

  // The same on all ranks, to the bit.
  auto first = learned.curves.values.clone();
  world().broadcast(first, 0);
  EXPECT_TRUE(first.equal(learned.curves.values));
}

// Noise lets curves fit rows better and better by crushing them into a few points, where the
// subspaces are lost: .03 falls to .002 and less without the change of variables.
TEST(CurveLearning, LeavesNoisyStraightSubspacesStraight) {
  const auto [all, labels] = generate_rows(bent("subspaces", 0.1), {0, kCurveRows});
  const auto rows = all.to(torch::kFloat64);
  const double before = distance_to_truth(rows / rows.std(0), labels);
  const auto learned = learn(rows);
  const double after = distance_to_truth(learned.curves(rows), labels);
  EXPECT_LT(after, 1.05 * before);
  EXPECT_GT(learned.steps.back().objective, 0.6 * before);
  // Lines but for the tails: each feature is still nearly its own multiple.
  const auto mapped = learned.curves(rows);
  const auto line = (rows - rows.mean(0)) / rows.std(0, /*unbiased=*/false);
  EXPECT_GT((mapped * line).mean(0).min().item<double>(), 0.99);
}

TEST(CurveLearning, GoesOnBehindARoundToTheSameBits) {
  const auto rows = generate_rows(bent("nonlinear", 0), {0, kCurveRows}).rows.to(torch::kFloat64);
  const auto whole = learn(rows);
  CurveProgress first;
  struct Stop {};
  EXPECT_THROW(learn_from(rows, 5, 6, {},
                          {.step = [](const CurveStep&) {},
                           .round =
                               [&](const CurveProgress& progress) {
                                 first = progress;
                                 throw Stop();
                               }}),
               Stop);
  ASSERT_EQ(first.rounds, 1);
  const auto rest = learn(rows, first);
  EXPECT_TRUE(rest.curves.values.equal(whole.curves.values));
  EXPECT_EQ(rest.rounds, whole.rounds);
}

// Five rows, on up to four ranks, of which one has none: too few to bend anything.
TEST(CurveLearning, LeavesAFewRowsAsTheyAre) {
  const auto all = test::random_matrix(5, 3, 12);
  const auto curves = learn_from(
      all, 2, 1, {}, {.step = [](const CurveStep&) {}, .round = [](const CurveProgress&) {}});
  const auto line = (all - all.mean(0)) / all.std(0, /*unbiased=*/false);
  EXPECT_LT((curves(all) - line).abs().max().item<double>(), 1e-12);
}

}  // namespace
}  // namespace eigenscale
