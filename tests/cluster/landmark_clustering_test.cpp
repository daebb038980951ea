#include "eigenscale/cluster/landmark_clustering.h"

#include <set>

#include "cluster_test_support.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/subspace_refinement.h"
#include "eigenscale/cluster/unit_rows.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

using test::own;
using test::world;

TEST(Landmarks, AreDifferentRowsAndDifferentDrawsDiffer) {
  const auto first = draw_rows(1000, 100, 1, "landmarks", 0);
  const auto second = draw_rows(1000, 100, 1, "landmarks", 1);
  EXPECT_EQ(std::set<std::int64_t>(first.begin(), first.end()).size(), 100u);
  EXPECT_TRUE(std::ranges::is_sorted(first));
  EXPECT_GE(first.front(), 0);
  EXPECT_LT(first.back(), 1000);
  EXPECT_NE(first, second);
  EXPECT_EQ(first, draw_rows(1000, 100, 1, "landmarks", 0));
  const auto all = draw_rows(50, 50, 1, "landmarks");
  EXPECT_EQ(all.front(), 0);
  EXPECT_EQ(all.back(), 49);
}

TEST(Landmarks, EveryRowIsDrawnAsOften) {
  std::vector<int> drawn(20, 0);
  for (std::uint32_t draw = 0; draw < 4000; ++draw) {
    for (const auto row : draw_rows(20, 5, 7, "landmarks", draw)) {
      ++drawn[row];
    }
  }
  for (const int count : drawn) {
    EXPECT_NEAR(count, 1000, 6 * std::sqrt(750));  // six standard deviations
  }
}

TEST(Landmarks, ExchangeBringsEachRankItsRows) {
  const RowPartition partition(50, world().size());
  const auto all = test::random_matrix(50, 3, 1);
  const MemoryRows rows(own(all));
  std::vector<std::vector<std::int64_t>> wanted;
  for (int rank = 0; rank < world().size(); ++rank) {
    wanted.push_back(draw_rows(50, rank * 7, 1, "test", static_cast<std::uint32_t>(rank)));
  }
  const auto received = exchange_rows(world(), partition, rows, wanted, torch::kFloat64);
  const auto& mine = wanted[world().rank()];
  ASSERT_EQ(received.size(0), std::ssize(mine));
  for (std::int64_t i = 0; i < std::ssize(mine); ++i) {
    EXPECT_TRUE(received[i].equal(all[mine[i]]));
  }
}

struct Hard {
  torch::Tensor rows, labels;
};
Hard hard_union(std::int64_t samples) {
  const auto bases = random_bases(5, 9, 6, 77, torch::kFloat64);
  const auto coefficients = test::random_matrix(samples, 6, 8);
  auto rows = torch::empty({samples, 9}, torch::kFloat64);
  for (std::int64_t i = 0; i < samples; ++i) {
    rows[i].copy_(bases[i * 7919 % 5].matmul(coefficients[i]));
  }
  scale_to_unit_rows(rows);
  return {rows.to(torch::kFloat32).contiguous(), torch::arange(samples) * 7919 % 5};
}

LandmarkModel find(const Communicator& communicator, const Hard& data, std::int64_t draws,
                   std::int64_t dimension) {
  const RowPartition partition(data.rows.size(0), communicator.size());
  const auto range = partition.range(communicator.rank());
  const MemoryRows rows(data.rows.narrow(0, range.begin, range.size()));
  ClusteringOptions clustering;
  clustering.clusters = 5;
  clustering.closed_form = true;
  clustering.settings = default_settings(400, 5);
  clustering.settings.subspace_dim = 9;
  return cluster_landmarks(communicator, partition, rows, clustering,
                           {.landmarks = 400, .draws = draws, .dimension = dimension},
                           [](const std::string&) {});
}

TEST(LandmarkClustering, FindsTheSubspacesOfAllRows) {
  const auto data = hard_union(3000);
  const auto model = find(world(), data, 3, 0);
  EXPECT_EQ(model.dimension, 6);
  EXPECT_EQ(model.candidates.size(), 9u);
  const MemoryRows rows(own(data.rows));
  const auto refined = refine_subspaces(world(), rows, model.bases, {});
  const auto metrics =
      clustering_metrics(confusion_matrix(world(), refined.labels, own(data.labels)));
  EXPECT_GE(metrics.accuracy, 0.9999);
}

TEST(LandmarkClustering, RankCountDoesNotChangeTheModel) {
  const auto data = hard_union(2000);
  const auto together = find(world(), data, 2, 6);
  const auto alone = world().split(world().rank(), 0);
  const auto reference = find(*alone, data, 2, 6);
  EXPECT_EQ(together.best, reference.best);
  EXPECT_TRUE(together.bases.equal(reference.bases));
}

TEST(LandmarkClustering, FewerDistinctRowsThanClustersAreRefused) {
  auto data = hard_union(500);
  data.rows.copy_(data.rows[0].expand({500, 9}));
  try {
    find(world(), data, 1, 6);
    FAIL() << "one distinct point was split into five clusters";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kInput);
    EXPECT_TRUE(error.agreed());
    EXPECT_THAT(error.what(), testing::HasSubstr("1 distinct"));
  }
}

}  // namespace
}  // namespace eigenscale
