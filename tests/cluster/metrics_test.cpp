#include "eigenscale/cluster/metrics.h"

#include "cluster_test_support.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {
namespace {

using test::own;
using test::world;

TEST(Metrics, RenamedClustersAreAPerfectMatch) {
  const auto classes = torch::tensor({0, 0, 1, 1, 2, 2, 2}, torch::kInt64);
  const auto clusters = torch::tensor({2, 2, 0, 0, 1, 1, 1}, torch::kInt64);
  const auto metrics = clustering_metrics(confusion_matrix(world(), own(clusters), own(classes)));
  EXPECT_DOUBLE_EQ(metrics.accuracy, 1);
  EXPECT_NEAR(metrics.nmi, 1, 1e-14);
  EXPECT_DOUBLE_EQ(metrics.ari, 1);
}

TEST(Metrics, KnownValues) {
  // Worked by hand: confusion [[2, 1], [0, 3]]; entropies of the sides and of the table; pairs
  // (1 + 0 + 0 + 3) of rows 6, columns (1 + 6), all 15.
  const auto classes = torch::tensor({0, 0, 1, 1, 1, 1}, torch::kInt64);
  const auto clusters = torch::tensor({0, 0, 0, 1, 1, 1}, torch::kInt64);
  const auto metrics = clustering_metrics(confusion_matrix(world(), own(clusters), own(classes)));
  EXPECT_DOUBLE_EQ(metrics.accuracy, 5.0 / 6);
  const double half = std::log(2.0);
  const double sides = -(2.0 / 6 * std::log(2.0 / 6) + 4.0 / 6 * std::log(4.0 / 6));
  const double table =
      -(2.0 / 6 * std::log(2.0 / 6) + 1.0 / 6 * std::log(1.0 / 6) + 3.0 / 6 * std::log(3.0 / 6));
  EXPECT_NEAR(metrics.nmi, (half + sides - table) / ((half + sides) / 2), 1e-14);
  const double expected = 6.0 * 7 / 15;
  EXPECT_NEAR(metrics.ari, (4 - expected) / ((6 + 7) / 2.0 - expected), 1e-14);
}

TEST(Metrics, MatchIsTheBestNotTheGreedyOne) {
  // Greedy takes 10 + 1; the best assignment is 9 + 8.
  const auto match = best_match(torch::tensor({{10, 9}, {8, 1}}, torch::kInt64));
  EXPECT_THAT(match, testing::ElementsAre(1, 0));
}

TEST(Metrics, MoreClustersThanClassesAndFewer) {
  const auto more = clustering_metrics(torch::tensor({{4, 0}, {0, 3}, {2, 0}}, torch::kInt64));
  EXPECT_DOUBLE_EQ(more.accuracy, 7.0 / 9);
  const auto fewer = clustering_metrics(torch::tensor({{4, 0, 1}, {0, 3, 1}}, torch::kInt64));
  EXPECT_DOUBLE_EQ(fewer.accuracy, 7.0 / 9);
}

TEST(Metrics, OneClusterTellsNothing) {
  const auto metrics = clustering_metrics(torch::tensor({{3, 3}}, torch::kInt64));
  EXPECT_DOUBLE_EQ(metrics.accuracy, 0.5);
  EXPECT_DOUBLE_EQ(metrics.nmi, 0);
  EXPECT_DOUBLE_EQ(metrics.ari, 0);
}

TEST(Metrics, NumbersClustersByFirstAppearance) {
  const auto all = torch::tensor({3, 3, 0, 1, 0, 2, 1}, torch::kInt64);
  auto labels = own(all);
  const auto range = RowPartition(7, world().size()).range(world().rank());
  number_by_first_appearance(world(), labels, range.begin, 4);
  EXPECT_TRUE(labels.equal(own(torch::tensor({0, 0, 1, 2, 1, 3, 2}, torch::kInt64))));
}

TEST(ClusteringMetrics, OutliersTakeNoPart) {
  const auto clusters = torch::tensor({0, 1, 0, 1, 1, 0}, torch::kInt64);
  const auto classes = torch::tensor({1, 0, 1, 0, -1, -1}, torch::kInt64);
  const auto confusion = confusion_matrix(world(), own(clusters), own(classes));
  EXPECT_TRUE(confusion.equal(torch::tensor({{0, 2}, {2, 0}}, torch::kInt64)));
  EXPECT_DOUBLE_EQ(clustering_metrics(confusion).accuracy, 1);
}

}  // namespace
}  // namespace eigenscale
