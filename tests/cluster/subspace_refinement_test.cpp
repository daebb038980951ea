#include "eigenscale/cluster/subspace_refinement.h"

#include "cluster_test_support.h"
#include "eigenscale/cluster/extreme_rows.h"
#include "eigenscale/cluster/metrics.h"
#include "eigenscale/cluster/subspace_assignment.h"
#include "eigenscale/cluster/subspace_sums.h"
#include "eigenscale/cluster/unit_rows.h"

namespace eigenscale {
namespace {

using test::own;
using test::world;

/// Unit rows of a union of random subspaces, all of them on every rank, with the true bases.
struct Union {
  torch::Tensor rows, labels, bases;
};

Union subspace_union(std::int64_t samples, std::int64_t features, std::int64_t dimension,
                     std::int64_t clusters, double noise, torch::ScalarType type) {
  Union result;
  result.bases = random_bases(clusters, features, dimension, 77, torch::kFloat64);
  const auto order = CounterRandom(5, "shuffle").permutation(samples);
  const auto coefficients = test::random_matrix(samples, dimension, 8);
  const auto deviation = test::random_matrix(samples, features, 9);
  result.labels = torch::empty({samples}, torch::kInt64);
  result.rows = torch::empty({samples, features}, torch::kFloat64);
  for (std::int64_t i = 0; i < samples; ++i) {
    const std::int64_t k = order[i] % clusters;
    result.labels[i] = k;
    result.rows[i].copy_(result.bases[k].matmul(coefficients[i] / coefficients[i].norm()) +
                         noise * deviation[i]);
  }
  result.rows = result.rows.to(type).contiguous();
  scale_to_unit_rows(result.rows);
  return result;
}

double accuracy(const torch::Tensor& found, const torch::Tensor& labels) {
  return clustering_metrics(confusion_matrix(world(), found, own(labels))).accuracy;
}

/// The share of the rows that the nearest true subspace labels right: nobody can do better.
double oracle_accuracy(const Union& data) {
  const auto type = data.rows.scalar_type();
  const auto mine = own(data.rows);
  const auto labels = torch::empty({mine.size(0)}, torch::kInt64);
  const auto residuals = torch::empty({mine.size(0)}, torch::kFloat32);
  SubspaceAssigner(data.bases.to(type)).assign(mine, 0, {labels, residuals});
  return accuracy(labels, data.labels);
}

/// True labels of which every third is replaced by a random one.
torch::Tensor spoilt(const torch::Tensor& labels, std::int64_t clusters) {
  auto result = labels.clone();
  const CounterRandom random(1, "spoil");
  for (std::int64_t i = 0; i < labels.numel(); i += 3) {
    result[i] = static_cast<std::int64_t>(random.integer(clusters, i));
  }
  return result;
}

Refinement refine(const Union& data, std::int64_t clusters, std::int64_t dimension) {
  const MemoryRows rows(own(data.rows));
  const auto start = fit_subspaces(world(), rows, own(spoilt(data.labels, clusters)), clusters,
                                   dimension, data.rows.scalar_type());
  return refine_subspaces(world(), rows, start, {});
}

// Rows that only lie near subspaces: their labels go on changing long after the objective rests.
TEST(SubspaceRefinement, EndsAtTheFirstSmallGainWhereNoDimensionStandsOut) {
  const auto data = subspace_union(6000, 20, 6, 5, 0.3, torch::kFloat64);
  const MemoryRows rows(own(data.rows));
  const auto start =
      fit_subspaces(world(), rows, own(spoilt(data.labels, 5)), 5, 4, torch::kFloat64);
  const auto short_of = refine_subspaces(world(), rows, start, refinement_of(false)).passes;
  const auto whole = refine_subspaces(world(), rows, start, refinement_of(true)).passes;
  ASSERT_LT(short_of.size(), whole.size());
  ASSERT_GT(short_of.size(), 1u);
  for (std::size_t pass = 1; pass < short_of.size(); ++pass) {
    const double before = short_of[pass - 1].objective;
    const double now = short_of[pass].objective;
    EXPECT_EQ(now, whole[pass].objective);
    EXPECT_EQ(before - now < 1e-3 * now, pass + 1 == short_of.size()) << pass;
  }
}

TEST(SubspaceRefinement, ReachesTheOracleFromSpoiltLabels) {
  for (const double noise : {0.0, 0.1}) {
    const auto data = subspace_union(6000, 9, 6, 5, noise, torch::kFloat32);
    const auto found = refine(data, 5, 6);
    const double oracle = oracle_accuracy(data);
    EXPECT_GE(accuracy(found.labels, data.labels), oracle - 0.01) << "noise " << noise;
    EXPECT_EQ(found.sizes.sum().item<std::int64_t>(), 6000);
  }
}

TEST(SubspaceRefinement, WideRowsReachTheOracle) {
  const auto data = subspace_union(1500, 60, 4, 6, 0.02, torch::kFloat32);
  EXPECT_GE(accuracy(refine(data, 6, 4).labels, data.labels), 0.999);
}

TEST(SubspaceRefinement, ObjectiveFallsAndIsThatOfTheLabels) {
  const auto data = subspace_union(3000, 9, 6, 5, 0.1, torch::kFloat64);
  const auto found = refine(data, 5, 6);
  for (std::size_t i = 1; i < found.passes.size(); ++i) {
    EXPECT_LE(found.passes[i].objective, found.passes[i - 1].objective * (1 + 1e-12));
  }
  EXPECT_GT(found.passes.size(), 2u);
  // By another way: the distance of every row to the span of its own cluster's basis.
  const auto mine = own(data.rows);
  const auto bases = found.bases.index_select(0, found.labels);
  const auto coordinates = bases.transpose(1, 2).matmul(mine.unsqueeze(2));
  const auto rest = mine - bases.matmul(coordinates).squeeze(2);
  const double objective = all_reduce(world(), rest.square().sum().item<double>()) / 3000;
  EXPECT_NEAR(found.objective, objective, 1e-7);  // residuals are kept in single precision
}

TEST(SubspaceRefinement, TheSavedBasesMakeTheLabels) {
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    const auto data = subspace_union(2500, 30, 5, 4, 0.2, type);
    const auto found = refine(data, 4, 5);
    const auto mine = own(data.rows);
    const auto first = RowPartition(2500, world().size()).range(world().rank()).begin;
    const auto labels = torch::empty_like(found.labels);
    const auto residuals = torch::empty_like(found.residuals);
    SubspaceAssigner(found.bases).assign(mine, first, {labels, residuals});
    EXPECT_TRUE(labels.equal(found.labels));
    EXPECT_TRUE(residuals.equal(found.residuals));
  }
}

TEST(SubspaceRefinement, TheBasesMakeTheLabelsWhereverItEnds) {
  const auto data = subspace_union(2500, 30, 5, 4, 0.2, torch::kFloat32);
  const MemoryRows rows(own(data.rows));
  const auto start =
      fit_subspaces(world(), rows, own(spoilt(data.labels, 4)), 4, 5, data.rows.scalar_type());
  const auto first = RowPartition(2500, world().size()).range(world().rank()).begin;
  for (const std::int64_t passes : {1, 2}) {
    // Far from settled: bases updated once more would give other residuals.
    const auto found = refine_subspaces(world(), rows, start, {.most_passes = passes});
    EXPECT_EQ(std::ssize(found.passes), passes);
    EXPECT_GT(found.passes.back().changed, 0.001);
    const auto labels = torch::empty_like(found.labels);
    const auto residuals = torch::empty_like(found.residuals);
    SubspaceAssigner(found.bases).assign(own(data.rows), first, {labels, residuals});
    EXPECT_TRUE(labels.equal(found.labels));
    EXPECT_TRUE(residuals.equal(found.residuals));
  }
}

TEST(SubspaceAssigner, TheLowestClusterCountsAmongEquals) {
  // Planes of e1 and another axis: products of these rows are exact in any order of addition.
  auto bases = torch::zeros({3, 6, 2});
  for (std::int64_t k = 0; k < 3; ++k) {
    bases[k][0][0] = 1;
    bases[k][k + 1][1] = 1;
  }
  const auto rows = torch::zeros({6, 6});
  rows[0][0] = 1;  // in all of them
  rows[1][5] = 1;  // orthogonal to all, and row 2 is zero
  rows[3][0] = 0.5F;
  rows[4][2] = 1;
  rows[5][3] = 1;
  const auto labels = torch::full({6}, -1, torch::kInt64);
  const auto residuals = torch::empty({6});
  SubspaceAssigner(bases).assign(rows, 0, {labels, residuals});
  EXPECT_TRUE(labels.equal(torch::tensor({0, 0, 0, 0, 1, 2}, torch::kInt64))) << labels;
  EXPECT_TRUE(residuals.equal(torch::tensor({0.0F, 1.0F, 1.0F, 0.75F, 0.0F, 0.0F}))) << residuals;
}

TEST(SubspaceAssigner, ARowsResultDoesNotDependOnThePieceItComesIn) {
  const auto data = subspace_union(2000, 37, 5, 7, 0.3, torch::kFloat32);
  const SubspaceAssigner assigner(data.bases.to(torch::kFloat32));
  const auto assign = [&](const std::vector<std::int64_t>& cuts) {
    auto labels = torch::empty({2000}, torch::kInt64);
    auto residuals = torch::empty({2000}, torch::kFloat32);
    auto projections = torch::empty({2000, 7}, torch::kFloat32);
    for (std::size_t i = 1; i < cuts.size(); ++i) {
      const auto count = cuts[i] - cuts[i - 1];
      assigner.assign(
          data.rows.narrow(0, cuts[i - 1], count), cuts[i - 1],
          {labels.narrow(0, cuts[i - 1], count), residuals.narrow(0, cuts[i - 1], count),
           projections.narrow(0, cuts[i - 1], count)});
    }
    return std::make_tuple(labels, residuals, projections);
  };
  const auto [labels, residuals, projections] = assign({0, 2000});
  for (const auto& cuts :
       std::vector<std::vector<std::int64_t>>{{0, 1, 2, 511, 513, 700, 1999, 2000},
                                              {0, 667, 1334, 2000},
                                              {0, 500, 1000, 1500, 2000}}) {
    const auto [other_labels, other_residuals, other_projections] = assign(cuts);
    EXPECT_TRUE(labels.equal(other_labels));
    EXPECT_TRUE(residuals.equal(other_residuals));
    EXPECT_TRUE(projections.equal(other_projections));
  }
}

TEST(SubspaceRefinement, RankCountDoesNotChangeLabels) {
  const auto data = subspace_union(2500, 9, 6, 5, 0.05, torch::kFloat64);
  const auto found = refine(data, 5, 6);
  const auto alone = world().split(world().rank(), 0);
  const MemoryRows rows(data.rows);
  const auto start =
      fit_subspaces(*alone, rows, spoilt(data.labels, 5), 5, 6, data.rows.scalar_type());
  const auto reference = refine_subspaces(*alone, rows, start, {});
  EXPECT_TRUE(found.labels.equal(own(reference.labels)));
  EXPECT_EQ(found.passes.size(), reference.passes.size());
}

/// Where the refinement stands behind a pass, at which it is ended.
RefinementProgress interrupted(const RowProvider& rows, const RefinementProgress& from,
                               std::size_t pass) {
  struct Interruption {};
  RefinementProgress found;
  const auto end = [&](const RefinementProgress& progress) {
    if (progress.passes.size() == pass) {
      found = progress;
      throw Interruption();
    }
  };
  EXPECT_THROW(refine_subspaces(world(), rows, from, {}, end), Interruption);
  return found;
}

/// From a random start, which takes its time.
void goes_on_to_the_same_bits(const Union& data, std::int64_t clusters, std::int64_t dimension) {
  const MemoryRows rows(own(data.rows));
  RefinementProgress start;
  start.bases = random_bases(clusters, rows.features(), dimension, 1, data.rows.scalar_type());
  const auto whole = refine_subspaces(world(), rows, start, {}, {});
  ASSERT_GE(whole.passes.size(), 4U);
  for (const std::size_t pass : {std::size_t{1}, whole.passes.size() - 2}) {
    // Interrupted once more in the pass behind.
    const auto twice = interrupted(rows, interrupted(rows, start, pass), pass + 1);
    const auto parts = refine_subspaces(world(), rows, twice, {}, {});
    EXPECT_TRUE(parts.bases.equal(whole.bases)) << "pass " << pass;
    EXPECT_TRUE(parts.spectra.equal(whole.spectra));
    EXPECT_TRUE(parts.labels.equal(whole.labels));
    EXPECT_TRUE(parts.residuals.equal(whole.residuals));
    ASSERT_EQ(parts.passes.size(), whole.passes.size());
    for (std::size_t i = 0; i < whole.passes.size(); ++i) {
      EXPECT_EQ(parts.passes[i].objective, whole.passes[i].objective);
      EXPECT_EQ(parts.passes[i].changed, whole.passes[i].changed);
    }
  }
}

TEST(SubspaceRefinement, GoesOnFromAnyPassToTheSameBits) {
  goes_on_to_the_same_bits(subspace_union(2500, 9, 6, 5, 0.1, torch::kFloat32), 5, 6);
}

TEST(SubspaceRefinement, GoesOnWhereDirectionsAreIterated) {
  const auto data = subspace_union(300, 3400, 3, 3, 0.3, torch::kFloat32);
  ASSERT_FALSE(SubspaceSums::by_moments(3, 3400));
  goes_on_to_the_same_bits(data, 3, 3);
}

TEST(SubspaceRefinement, ZeroRowsTakeNoPart) {
  auto data = subspace_union(1200, 9, 3, 3, 0, torch::kFloat32);
  data.rows.narrow(0, 100, 300).zero_();
  const auto found = refine(data, 3, 3);
  EXPECT_EQ(found.zero_rows, 300);
  EXPECT_EQ(found.sizes.sum().item<std::int64_t>(), 900);
  const auto zero = own((data.rows.square().sum(1) == 0).contiguous());
  EXPECT_TRUE((found.labels.masked_select(zero) == 0).all().item<bool>());
  EXPECT_TRUE((found.residuals.masked_select(zero) == 1).all().item<bool>());
  EXPECT_LT(found.residuals.masked_select(zero.logical_not()).sum().item<double>(), 1e-3);
}

TEST(SubspaceRefinement, AStarvedClusterTakesTheWorstRows) {
  const auto data = subspace_union(900, 12, 3, 3, 0, torch::kFloat64);
  const MemoryRows rows(own(data.rows));
  // Two bases that are right and one that no row is near: orthogonal to all data by a feature
  // nobody has would starve; here a copy of the first, which ties give nothing.
  auto start = data.bases.clone();
  start[2].copy_(start[0]);
  const auto found = refine_subspaces(world(), rows, start, {});
  EXPECT_EQ(found.passes.front().refilled, 1);
  EXPECT_DOUBLE_EQ(accuracy(found.labels, data.labels), 1);
}

// Neither rows of zeros, whose residual is the largest of all, nor rows that are well explained.
TEST(SubspaceRefinement, AStarvedClusterTakesRowsThatNoSubspaceExplains) {
  auto data = subspace_union(900, 12, 3, 3, 0, torch::kFloat64);
  data.rows.narrow(0, 200, 100).zero_();
  const MemoryRows rows(own(data.rows));
  auto start = data.bases.clone();
  start[2].copy_(start[0]);
  const auto found = refine_subspaces(world(), rows, start, {.most_passes = 2});
  EXPECT_EQ(found.passes.front().refilled, 1);
  // It fitted three rows exactly, which are all of the third cluster.
  const auto nothing_left = (found.labels == 2).logical_and(found.residuals < 1e-9);
  const auto third = own(data.labels) == 2;
  const auto total = [](const torch::Tensor& mask) {
    return all_reduce(world(), mask.sum().item<std::int64_t>());
  };
  EXPECT_GE(total(nothing_left), 3);
  EXPECT_EQ(total(nothing_left), total(nothing_left.logical_and(third)));
}

TEST(SubspaceSums, KeptRowsHaveTheDirectionsOfTheirMoments) {
  const auto alone = world().split(world().rank(), 0);
  auto data = subspace_union(120, 30, 4, 8, 0.05, torch::kFloat32);
  // One cluster with more rows than features, one with fewer rows than dimensions, one of copies.
  auto labels = data.labels.clone();
  labels.narrow(0, 0, 40).fill_(0);
  labels.masked_fill_(labels == 1, 2);
  labels[50] = 1;
  const auto copies = (labels == 3).nonzero().flatten();
  data.rows.index_copy_(0, copies,
                        data.rows[copies[0].item<std::int64_t>()].expand({copies.numel(), 30}));
  SubspaceSums kept(8, 30, {}, true);
  SubspaceSums moments(8, 30);
  for (const auto& [first, count] : {std::pair{0, 70}, std::pair{70, 50}}) {
    kept.add(data.rows.narrow(0, first, count), labels.narrow(0, first, count));
    moments.add(data.rows.narrow(0, first, count), labels.narrow(0, first, count));
  }
  EXPECT_EQ(kept.values().numel(), 0);
  const auto found = kept.directions(*alone, 4, 12);
  const auto expected = moments.directions(*alone, 4, 12);
  const auto identity = torch::eye(4, torch::kFloat64);
  for (std::int64_t k = 0; k < 8; ++k) {
    EXPECT_TRUE(found.bases[k].t().mm(found.bases[k]).allclose(identity, 0, 1e-9)) << k;
    // Products of moments are in single precision.
    EXPECT_TRUE(found.spectra[k].allclose(expected.spectra[k], 1e-5, 1e-5)) << k;
    if (k != 1 && k != 3) {
      const auto projector = found.bases[k].mm(found.bases[k].t());
      EXPECT_TRUE(projector.allclose(expected.bases[k].mm(expected.bases[k].t()), 0, 1e-4)) << k;
    }
  }
}

TEST(ExtremeRows, AreTheLargestOrSmallestOfAllRanksTheLowerIndexFirst) {
  const auto values = torch::tensor({3.0, 1.0, -1.0, 3.0, 0.0, 7.0, 1.0, 0.5}, torch::kFloat32);
  const auto first = RowPartition(8, world().size()).range(world().rank()).begin;
  const auto largest = extreme_rows(world(), first, own(values), 4, true);
  EXPECT_THAT(largest, testing::ElementsAre(5, 0, 3, 1));
  const auto smallest = extreme_rows(world(), first, own(values), 4, false);
  EXPECT_THAT(smallest, testing::ElementsAre(4, 7, 1, 6));
  EXPECT_EQ(extreme_rows(world(), first, own(values), 20, true).size(), 7u);
}

TEST(SubspaceRefinement, OrderOfAppearanceLeavesOutZeroRows) {
  const auto labels = own(torch::tensor({0, 2, 2, 1, 0, 1}, torch::kInt64));
  const auto residuals = own(torch::tensor({1.0, 0.5, 0.5, 0.1, 0.2, 0.3}, torch::kFloat32));
  const auto first = RowPartition(6, world().size()).range(world().rank()).begin;
  const auto order = order_of_appearance(world(), labels, residuals, first, 4);
  EXPECT_THAT(order, testing::ElementsAre(2, 1, 0, 3));
}

}  // namespace
}  // namespace eigenscale
