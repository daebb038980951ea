#include "eigenscale/cluster/kmeans.h"

#include "cluster_test_support.h"
#include "eigenscale/cluster/lloyd.h"
#include "eigenscale/cluster/metrics.h"

namespace eigenscale {
namespace {

using test::own;
using test::world;

torch::Tensor blobs(std::int64_t samples, std::int64_t clusters, double spread) {
  const auto centres = 10 * test::random_matrix(clusters, 3, 21);
  return centres.index_select(0, torch::arange(samples) % clusters) +
         spread * test::random_matrix(samples, 3, 22);
}

TEST(Kmeans, FindsSeparatedBlobs) {
  const RowPartition partition(101, world().size());
  const auto rows = blobs(101, 5, 0.1);
  const auto found = kmeans(world(), partition, own(rows), {.clusters = 5});
  const auto metrics =
      clustering_metrics(confusion_matrix(world(), found.labels, own(torch::arange(101) % 5)));
  EXPECT_DOUBLE_EQ(metrics.accuracy, 1);
}

TEST(Kmeans, ObjectiveIsTheInertiaAtAFixedPoint) {
  const RowPartition partition(150, world().size());
  const auto rows = blobs(150, 4, 6);
  const auto found = kmeans(world(), partition, own(rows), {.clusters = 4});
  auto sums = torch::zeros({4, 4}, torch::kFloat64);
  const auto mine = own(rows);
  sums.narrow(1, 0, 3).index_add_(0, found.labels, mine);
  sums.select(1, 3).index_add_(0, found.labels, torch::ones({mine.size(0)}, torch::kFloat64));
  world().all_reduce(sums);
  const auto centres = sums.narrow(1, 0, 3) / sums.narrow(1, 3, 1);
  const auto distances = (mine.unsqueeze(1) - centres.unsqueeze(0)).square().sum(2);
  if (mine.size(0) > 0) {
    EXPECT_TRUE(std::get<1>(distances.min(1)).equal(found.labels));
  }
  const double inertia =
      all_reduce(world(), distances.gather(1, found.labels.unsqueeze(1)).sum().item<double>());
  // Distances are formed as |x|^2 + |c|^2 - 2 x c: rounding of a few ulp of |x|^2 ~ 300 a row.
  EXPECT_NEAR(found.objective, inertia, 1e-10 * inertia + 150 * 300 * 1e-15);
}

TEST(Kmeans, RankCountDoesNotChangeLabels) {
  const RowPartition partition(97, world().size());
  const auto rows = blobs(97, 6, 5);
  auto found = kmeans(world(), partition, own(rows), {.clusters = 6}).labels;
  number_by_first_appearance(world(), found, partition.range(world().rank()).begin, 6);
  const auto alone = world().split(world().rank(), 0);
  auto reference = kmeans(*alone, RowPartition(97, 1), rows, {.clusters = 6}).labels;
  number_by_first_appearance(*alone, reference, 0, 6);
  EXPECT_TRUE(found.equal(own(reference)));
}

TEST(Kmeans, FarFromTheOriginDistancesDoNotCancel) {
  const RowPartition partition(101, world().size());
  const auto rows = blobs(101, 5, 0.1) + 1e8;
  for (const std::int64_t sample : {0, 50}) {
    const auto found = kmeans(world(), partition, own(rows), {.clusters = 5, .sample = sample});
    const auto metrics =
        clustering_metrics(confusion_matrix(world(), found.labels, own(torch::arange(101) % 5)));
    EXPECT_DOUBLE_EQ(metrics.accuracy, 1);
    // 101 rows of 3 numbers of variance .01, less 5 centres; coordinates are rounded to 1.5e-8.
    EXPECT_NEAR(found.objective, 96 * 3 * 0.01, 1);
  }
}

TEST(Kmeans, RestartsOnASampleFindTheBlobsOfAllRows) {
  const RowPartition partition(3001, world().size());
  const auto rows = blobs(3001, 7, 0.2).to(torch::kFloat32);
  const KmeansOptions options{.clusters = 7, .sample = 200};
  auto found = kmeans(world(), partition, own(rows), options);
  const auto metrics =
      clustering_metrics(confusion_matrix(world(), found.labels, own(torch::arange(3001) % 7)));
  EXPECT_DOUBLE_EQ(metrics.accuracy, 1);
  const auto alone = world().split(world().rank(), 0);
  const auto reference = kmeans(*alone, RowPartition(3001, 1), rows, options);
  EXPECT_TRUE(found.labels.equal(own(reference.labels)));
  EXPECT_NEAR(found.objective, reference.objective, 1e-12 * reference.objective);
}

TEST(Kmeans, FewerDistinctRowsThanClustersConverge) {
  // Five different rows, none of them exact in binary.
  const auto rows = (test::random_matrix(5, 3, 8) / 3).index_select(0, torch::arange(60) % 5);
  const RowPartition partition(60, world().size());
  const auto found = kmeans(world(), partition, own(rows), {.clusters = 8});
  // 60 distances of rows of length about 1, formed as |x|^2 + |c|^2 - 2 x c.
  EXPECT_NEAR(found.objective, 0, 1e-13);
  EXPECT_EQ(
      confusion_matrix(world(), found.labels, own(torch::arange(60) % 5)).gt(0).sum().item<int>(),
      5);
  const auto centres = rows.narrow(0, 0, 8).unsqueeze(0);
  EXPECT_LE(lloyd(world(), partition, own(rows), centres, 300).iterations, 3);
}

TEST(Kmeans, FewerDistinctRowsThanClustersEnds) {
  const RowPartition partition(12, world().size());
  const auto rows = torch::ones({12, 2}, torch::kFloat64);
  const auto found = kmeans(world(), partition, own(rows), {.clusters = 3, .most_iterations = 20});
  EXPECT_DOUBLE_EQ(found.objective, 0);
}

}  // namespace
}  // namespace eigenscale
