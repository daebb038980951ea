#include "eigenscale/cluster/discretization.h"

#include "cluster_test_support.h"
#include "eigenscale/cluster/metrics.h"

namespace eigenscale {
namespace {

using test::own;
using test::world;

/// A noisy indicator matrix under an arbitrary rotation, and the labels behind it.
std::pair<torch::Tensor, torch::Tensor> rotated_indicators(std::int64_t samples, std::int64_t k,
                                                           double noise) {
  const auto labels = (torch::arange(samples) * 7 % k).to(torch::kInt64);
  const auto rotation = std::get<0>(torch::linalg_qr(test::random_matrix(k, k, 11)));
  auto rows =
      torch::one_hot(labels, k).to(torch::kFloat64) + noise * test::random_matrix(samples, k, 12);
  return {rows.matmul(rotation), labels};
}

TEST(Discretization, FindsRotatedIndicators) {
  for (const std::int64_t samples : {5, 40, 203}) {
    const RowPartition partition(samples, world().size());
    const auto [rows, labels] = rotated_indicators(samples, 5, 0.05);
    const auto found = discretize(world(), partition, own(rows), {});
    const auto metrics = clustering_metrics(confusion_matrix(world(), found.labels, own(labels)));
    EXPECT_DOUBLE_EQ(metrics.accuracy, 1) << samples;
  }
}

TEST(Discretization, RankCountDoesNotChangeLabels) {
  const RowPartition partition(120, world().size());
  const auto [rows, labels] = rotated_indicators(120, 6, 0.45);
  auto found = discretize(world(), partition, own(rows), {}).labels;
  number_by_first_appearance(world(), found, partition.range(world().rank()).begin, 6);
  // The reference: the same rows, all on one rank.
  const auto alone = world().split(world().rank(), 0);
  auto reference = discretize(*alone, RowPartition(120, 1), rows, {}).labels;
  number_by_first_appearance(*alone, reference, 0, 6);
  EXPECT_TRUE(found.equal(own(reference)));
}

TEST(Discretization, ObjectiveIsTheRelaxationErrorOfTheLabels) {
  const RowPartition partition(90, world().size());
  const auto [rows, labels] = rotated_indicators(90, 4, 0.3);
  const auto found = discretize(world(), partition, own(rows), {});
  const auto unit = normalize_rows(own(rows));
  auto moment = torch::zeros({4, 4}, torch::kFloat64);
  moment.index_add_(0, found.labels, unit);
  world().all_reduce(moment);
  const double trace = std::get<1>(torch::linalg_svd(moment, false)).sum().item<double>();
  // The winning start has converged to 1e-10 relative.
  EXPECT_NEAR(found.objective, 2 * (90 - trace), 1e-8 * 90);
}

TEST(Discretization, RoundingDoesNotChangeLabels) {
  // Far from indicators, with more clusters than the rows suggest: many starts lose a cluster on
  // the way. 1e-9 is what rounding leaves in an embedding after hundreds of steps in double.
  const std::int64_t samples = 200;
  const std::int64_t k = 24;
  const RowPartition partition(samples, world().size());
  const auto rows = std::get<0>(torch::linalg_qr(test::random_matrix(samples, k, 31)));
  const auto labels_of = [&](const torch::Tensor& all) {
    auto labels = discretize(world(), partition, own(all), {}).labels;
    number_by_first_appearance(world(), labels, partition.range(world().rank()).begin, k);
    return labels;
  };
  const auto reference = labels_of(rows);
  for (int trial = 0; trial < 5; ++trial) {
    const auto disturbed = rows + 1e-9 * test::random_matrix(samples, k, 40 + trial);
    EXPECT_TRUE(labels_of(disturbed).equal(reference)) << trial;
  }
}

TEST(Discretization, RowsOfZerosGetSomeLabel) {
  const RowPartition partition(20, world().size());
  auto [rows, labels] = rotated_indicators(20, 3, 0.05);
  rows[4].zero_();
  const auto found = discretize(world(), partition, own(rows), {}).labels;
  EXPECT_TRUE(((found >= 0) & (found < 3)).all().item<bool>());
}

}  // namespace
}  // namespace eigenscale
