#include "eigenscale/cluster/affinity.h"

#include <limits>

#include "cluster_test_support.h"
#include "eigenscale/cluster/closed_form.h"
#include "eigenscale/cluster/discretization.h"
#include "eigenscale/cluster/memory_estimate.h"
#include "eigenscale/cluster/metrics.h"
#include "eigenscale/cluster/spectral_embedding.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

using test::world;

ClusteringSettings settings() {
  ClusteringSettings result;
  result.threshold = 0.5;
  result.subspace_dim = 2;
  result.affinity_power = 2;
  return result;
}

TEST(Affinity, IsSymmetricBetweenZeroAndOne) {
  const auto data = test::orthogonal_subspaces(3, 12);
  const RowPartition partition(36, world().size());
  const auto range = partition.range(world().rank());
  for (const auto& grid : test::all_grids()) {
    const auto coefficients =
        closed_form(data.rows.narrow(0, range.begin, range.size()), partition, grid, 6);
    const auto affinity =
        smooth_affinity(coefficients.matrix, grid, partition, settings(), 3, true).matrix;
    auto whole = torch::zeros({36, 36}, torch::kFloat64);
    const auto rows = affinity.layout().global_rows();
    const auto columns = affinity.layout().global_columns();
    if (affinity.local().numel() > 0) {
      whole.index_put_({rows.unsqueeze(1), columns.unsqueeze(0)}, affinity.local());
    }
    world().all_reduce(whole);
    EXPECT_TRUE(whole.allclose(whole.t(), 0, 1e-14));
    EXPECT_GE(whole.min().item<double>(), 0);
    EXPECT_DOUBLE_EQ(whole.max().item<double>(), 1);
    // Orthogonal subspaces have nothing in common.
    const auto different = data.labels.unsqueeze(1) != data.labels.unsqueeze(0);
    EXPECT_LT(whole.masked_select(different).max().item<double>(), 1e-20);
  }
}

TEST(Affinity, SubspacesAreFoundThroughTheWholeSpectralPhase) {
  const auto data = test::orthogonal_subspaces(4, 15);
  const RowPartition partition(60, world().size());
  const auto range = partition.range(world().rank());
  const auto own = data.rows.narrow(0, range.begin, range.size());
  const auto own_classes = data.labels.narrow(0, range.begin, range.size());
  for (const auto& grid : test::all_grids()) {
    const auto coefficients = closed_form(own, partition, grid, 8);
    auto affinity = smooth_affinity(coefficients.matrix, grid, partition, settings(), 4, true);
    const auto embedding = spectral_embedding(affinity.matrix, partition, 4);
    const auto found = discretize(world(), partition, embedding.rows, {});
    EXPECT_DOUBLE_EQ(
        clustering_metrics(confusion_matrix(world(), found.labels, own_classes)).accuracy, 1);
  }
}

TEST(Affinity, OneFixedMatrixGivesTheSameLabelsOnEveryGrid) {
  // Blocks of five clusters with strong noise, so that the assignment has something to decide.
  constexpr std::int64_t kSamples = 83;
  const auto cluster = torch::arange(kSamples) * 7 % 5;
  const auto same = (cluster.unsqueeze(1) == cluster.unsqueeze(0)).to(torch::kFloat64);
  const auto coefficients = same * 0.3 + 0.1 * test::random_matrix(kSamples, kSamples, 111);
  const auto labels_on = [&](const Communicator& communicator,
                             const std::shared_ptr<const ProcessGrid>& grid) {
    const RowPartition partition(kSamples, communicator.size());
    const auto affinity =
        smooth_affinity(test::distribute(coefficients, spectral_layout(kSamples, grid)), grid,
                        partition, settings(), 5, false);
    const auto embedding = spectral_embedding(affinity.matrix, partition, 5);
    auto labels = discretize(communicator, partition, embedding.rows, {}).labels;
    number_by_first_appearance(communicator, labels, partition.range(communicator.rank()).begin, 5);
    return labels;
  };
  const auto alone = world().split(world().rank(), 0);
  const auto reference = labels_on(*alone, std::make_shared<const ProcessGrid>(*alone, 1, 1));
  const auto range = RowPartition(kSamples, world().size()).range(world().rank());
  for (const auto& grid : test::all_grids()) {
    EXPECT_TRUE(labels_on(world(), grid).equal(reference.narrow(0, range.begin, range.size())));
  }
}

TEST(Affinity, RawAffinityIsTheSymmetricMagnitude) {
  const auto whole = test::random_matrix(23, 23, 101);
  const auto expected = (whole.abs() + whole.abs().t()) / 2;
  for (const auto& grid : test::all_grids()) {
    auto matrix = DistributedMatrix::zeros(spectral_layout(23, grid), torch::kFloat64);
    matrix.local().copy_(test::local_part(whole, matrix.layout()));
    const auto affinity = raw_affinity(matrix, grid);
    EXPECT_TRUE(affinity.local().equal(test::local_part(expected, affinity.layout())));
  }
}

TEST(Affinity, OfNeighboursIsThatOfTheStrongestCoefficients) {
  const auto whole = test::random_matrix(23, 23, 101);
  const auto magnitude = whole.abs().fill_diagonal_(0);
  const auto fourth = std::get<0>(magnitude.sort(0, true))[3];  // of each column
  const auto kept = (magnitude * (magnitude >= fourth.unsqueeze(0)) / magnitude.max()).square();
  const auto expected = (kept + kept.t()) / 2;
  for (const auto& grid : test::all_grids()) {
    auto matrix = DistributedMatrix::zeros(spectral_layout(23, grid), torch::kFloat64);
    matrix.local().copy_(test::local_part(whole, matrix.layout()));
    const auto affinity = neighbour_affinity(matrix, grid, 4, 2);
    EXPECT_TRUE(affinity.local().allclose(test::local_part(expected, affinity.layout()), 0, 1e-15));
  }
}

TEST(Affinity, CoefficientsThatAreNotFiniteDoNotVanish) {
  const auto grid = test::all_grids().front();
  auto coefficients = DistributedMatrix::zeros(spectral_layout(12, grid), torch::kFloat64);
  coefficients.local().fill_(1);
  if (world().rank() == 0) {
    coefficients.local()[0][0] = std::numeric_limits<double>::quiet_NaN();
  }
  const auto expect_numerical = [](const auto& work) {
    try {
      work();
      FAIL() << "did not throw";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kNumerical);
      EXPECT_TRUE(error.agreed());
      EXPECT_THAT(error.what(), testing::HasSubstr("--scale"));
    }
  };
  expect_numerical([&] { raw_affinity(coefficients, grid); });
  expect_numerical([&] {
    smooth_affinity(coefficients, grid, RowPartition(12, world().size()), ClusteringSettings{}, 2,
                    false);
  });
}

TEST(MemoryEstimate, FallsWithTheRanksAndKnowsThe32BitLimit) {
  const auto need = memory_for_coefficients(47000, false, torch::kFloat32);
  EXPECT_EQ(need.least_ranks, 2);
  EXPECT_THAT(need.subject, testing::HasSubstr("47,000 samples"));
  constexpr double kGiB = 1024.0 * 1024 * 1024;
  EXPECT_GT(need.bytes_of_rank(1), 47000.0 * 47000 * 24);
  EXPECT_LT(need.bytes_of_rank(64), need.bytes_of_rank(2) / 16);
  EXPECT_LT(need.bytes_of_rank(2), need.bytes_of_rank(1));
  // The case of the report: it does not fit 4 GiB, on enough ranks it does.
  const auto ranks =
      ranks_that_fit(memory_for_coefficients(30000, false, torch::kFloat32), 4 * kGiB);
  EXPECT_GT(ranks, 4);
  EXPECT_LT(ranks, 32);
}

}  // namespace
}  // namespace eigenscale
