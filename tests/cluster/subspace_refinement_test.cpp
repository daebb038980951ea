#include "eigenscale/cluster/subspace_refinement.h"

#include "cluster_test_support.h"
#include "eigenscale/cluster/metrics.h"
#include "eigenscale/cluster/subspace_assignment.h"
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

TEST(SubspaceRefinement, OrderOfAppearanceLeavesOutZeroRows) {
  const auto labels = own(torch::tensor({0, 2, 2, 1, 0, 1}, torch::kInt64));
  const auto residuals = own(torch::tensor({1.0, 0.5, 0.5, 0.1, 0.2, 0.3}, torch::kFloat32));
  const auto first = RowPartition(6, world().size()).range(world().rank()).begin;
  const auto order = order_of_appearance(world(), labels, residuals, first, 4);
  EXPECT_THAT(order, testing::ElementsAre(2, 1, 0, 3));
}

}  // namespace
}  // namespace eigenscale
