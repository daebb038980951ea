#include "eigenscale/cluster/landmark_clustering.h"

#include <set>

#include "cluster_test_support.h"
#include "eigenscale/cluster/distinct_rows.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/subspace_assignment.h"
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

/// Unit rows of K random subspaces of d dimensions in D, all of them on every rank.
struct Union {
  torch::Tensor rows, labels;
  std::int64_t clusters = 0;
};
Union subspace_union(std::int64_t samples, std::int64_t features, std::int64_t dimension,
                     std::int64_t clusters, double noise) {
  const auto bases = random_bases(clusters, features, dimension, 77, torch::kFloat64);
  const auto coefficients = test::random_matrix(samples, dimension, 8);
  auto rows = noise * test::random_matrix(samples, features, 9);
  for (std::int64_t i = 0; i < samples; ++i) {
    rows[i].add_(bases[i * 7919 % clusters].matmul(coefficients[i] / coefficients[i].norm()));
  }
  scale_to_unit_rows(rows);
  return {rows.to(torch::kFloat32).contiguous(), torch::arange(samples) * 7919 % clusters,
          clusters};
}
Union hard_union(std::int64_t samples) { return subspace_union(samples, 9, 6, 5, 0); }

LandmarkModel find(const Communicator& communicator, const Union& data, std::int64_t landmarks,
                   std::int64_t draws, std::int64_t dimension) {
  const RowPartition partition(data.rows.size(0), communicator.size());
  const auto range = partition.range(communicator.rank());
  const MemoryRows rows(data.rows.narrow(0, range.begin, range.size()));
  ClusteringOptions clustering;
  clustering.clusters = data.clusters;
  clustering.closed_form = true;
  clustering.settings = landmark_settings(landmarks, data.clusters, {});
  return cluster_landmarks(communicator, partition, rows, clustering,
                           {.landmarks = landmarks, .draws = draws, .dimension = dimension}, {},
                           {[](const std::string&) {}, [](const StartLabels&) {}});
}

TEST(LandmarkClustering, FindsTheSubspacesOfAllRows) {
  const auto data = hard_union(3000);
  const auto model = find(world(), data, 400, 3, 0);
  EXPECT_EQ(model.dimension, 6);
  EXPECT_EQ(model.candidates.size(), 9u);
  const MemoryRows rows(own(data.rows));
  const auto refined = refine_subspaces(world(), rows, model.bases, {});
  const auto metrics =
      clustering_metrics(confusion_matrix(world(), refined.labels, own(data.labels)));
  EXPECT_GE(metrics.accuracy, 0.9999);
}

// 120 directions in 30: coefficients have rank 30, far below the K d leading pairs that the paper's
// smoothing of the affinity keeps.
TEST(LandmarkClustering, FindsManySubspacesThatFillTheSpaceManyTimes) {
  const auto data = subspace_union(2400, 30, 4, 30, 0.02);
  const auto model = find(world(), data, 1200, 1, 4);
  const auto first = RowPartition(2400, world().size()).range(world().rank()).begin;
  const auto mine = own(data.rows);
  const auto labels = torch::empty({mine.size(0)}, torch::kInt64);
  const auto residuals = torch::empty({mine.size(0)}, torch::kFloat32);
  SubspaceAssigner(model.bases).assign(mine, first, {labels, residuals});
  const auto metrics = clustering_metrics(confusion_matrix(world(), labels, own(data.labels)));
  EXPECT_GE(metrics.accuracy, 0.99);
}

TEST(LandmarkClustering, CandidatesCompeteOnTheCommonSample) {
  const auto data = subspace_union(2000, 9, 6, 5, 0.15);
  const auto model = find(world(), data, 150, 2, 6);
  ASSERT_EQ(model.sample, 2000);  // all rows, of which the landmarks are few
  const auto rows = data.rows.to(torch::kFloat64);
  const auto objective = [&](const torch::Tensor& bases) {
    const auto squares = torch::einsum("nd,kds->kns", {rows, bases.to(torch::kFloat64)}).square();
    return (1 - squares.sum(2)).clamp_min(0).amin(0).mean().item<double>();
  };
  EXPECT_NEAR(model.candidates[model.best].objective, objective(model.bases), 1e-6);
  for (const auto& candidate : model.candidates) {
    EXPECT_GE(candidate.objective, model.candidates[model.best].objective * (1 - 2e-3))
        << candidate.start;
  }
}

TEST(LandmarkClustering, RankCountDoesNotChangeTheModel) {
  const auto data = hard_union(2000);
  const auto together = find(world(), data, 400, 2, 6);
  const auto alone = world().split(world().rank(), 0);
  const auto reference = find(*alone, data, 400, 2, 6);
  EXPECT_EQ(together.best, reference.best);
  EXPECT_TRUE(together.bases.equal(reference.bases));
}

TEST(LandmarkClustering, FewerDistinctRowsThanClustersAreRefused) {
  auto data = hard_union(500);
  data.rows.copy_(data.rows[0].expand({500, 9}));
  try {
    find(world(), data, 400, 1, 6);
    FAIL() << "one distinct point was split into five clusters";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kInput);
    EXPECT_TRUE(error.agreed());
    EXPECT_THAT(error.what(), testing::HasSubstr("1 distinct"));
  }
}

TEST(DistinctRows, AreCountedOverAllRanksUpToTheMostWanted) {
  auto all = test::random_matrix(20, 3, 1).to(torch::kFloat32);
  all.narrow(0, 5, 15).copy_(all[2].expand({15, 3}));
  all[0].zero_();
  all[19].copy_(-torch::zeros({3}));
  const auto count = [&](std::int64_t most) {
    return count_distinct_rows(world(), own(all), most);
  };
  EXPECT_EQ(count(100), 5);
  EXPECT_EQ(count(4), 4);
  EXPECT_THAT(distinct_rows(all, 100), testing::ElementsAre(0, 1, 2, 3, 4));
}

}  // namespace
}  // namespace eigenscale
