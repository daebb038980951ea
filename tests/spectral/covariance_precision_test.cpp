#include "eigenscale/spectral/covariance_precision.h"

#include <array>
#include <cmath>

#include "eigenscale/data/spectrum.h"
#include "eigenscale/linalg/gram.h"
#include "eigenscale/linalg/redistribute.h"
#include "eigenscale/spectral/centring.h"
#include "eigenscale/spectral/streamed_covariance.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kSamples = 3000;
constexpr std::int64_t kFeatures = 300;  // more than a panel of columns

/// Floats with a mean of some 1e4 and variances that fall to 1 / `condition`.
struct Sums {
  explicit Sums(double condition, std::int64_t samples = kSamples) : samples(samples) {
    const auto [rows, columns] = ProcessGrid::squarest(test::world().size());
    grid = std::make_shared<const ProcessGrid>(test::world(), columns, rows);
    const SpectrumData data({.samples = samples,
                             .ambient_dim = kFeatures,
                             .law = "geometric",
                             .decay = std::pow(condition, -1.0 / (kFeatures - 1)),
                             .mean = 1e4});
    const auto whole = data.make({0, samples}).to(torch::kFloat32);
    const auto mean = whole.to(torch::kFloat64).mean(0);
    const auto own = RowPartition(samples, test::world().size()).range(test::world().rank());
    rows_of_rank = Centring(mean)(whole.narrow(0, own.begin, own.size()));
    const auto exact_rows = whole.to(torch::kFloat64) - mean;
    exact = exact_rows.t().matmul(exact_rows) / static_cast<double>(samples);
  }

  DistributedMatrix covariance(torch::ScalarType products, GramSum how = GramSum::kBlocks) const {
    GramAccumulator sum(grid, test::world(), kFeatures, products, how);
    // As often on every rank, of ragged pieces.
    for (std::int64_t first = 0; first < samples; first += 700) {
      const auto begin = std::min(first, rows_of_rank.size(0));
      sum.add(
          rows_of_rank.narrow(0, begin, std::min<std::int64_t>(700, rows_of_rank.size(0) - begin)));
    }
    auto result = sum.take_sum();
    result.local().div_(static_cast<double>(samples));
    return result;
  }

  torch::Tensor own_part(const torch::Tensor& whole, const DistributedMatrix& like) const {
    return whole.index_select(0, like.layout().global_rows())
        .index_select(1, like.layout().global_columns());
  }

  double estimate(const DistributedMatrix& covariance) const {
    CovarianceProbe probe(test::world(), kFeatures);
    probe.add(rows_of_rank);
    return probe.error(covariance, static_cast<double>(samples));
  }

  std::int64_t samples;
  std::shared_ptr<const ProcessGrid> grid;
  torch::Tensor rows_of_rank;
  torch::Tensor exact;
};

constexpr std::array kAllWays = {GramSum::kBlocks, GramSum::kOwnRows, GramSum::kOnFirstRank};

double largest_on_all(const torch::Tensor& values) {
  return all_reduce(test::world(), values.numel() > 0 ? values.abs().max().item<double>() : 0.0,
                    ReduceOp::kMax);
}

TEST(CovariancePrecision, SinglePrecisionKeepsItsBound) {
  const Sums sums(1e6);
  const auto deviations = sums.exact.diagonal().sqrt();
  const auto relative_error = [&](const DistributedMatrix& covariance) {
    return largest_on_all((covariance.local() - sums.own_part(sums.exact, covariance)) /
                          sums.own_part(torch::outer(deviations, deviations), covariance));
  };
  for (const auto how : kAllWays) {
    SCOPED_TRACE(static_cast<int>(how));
    const double error = relative_error(sums.covariance(torch::kFloat32, how));
    // linalg/gram.h for the products; two roundings of a centred float on either side.
    constexpr double kUnit = 0x1p-24;
    EXPECT_LT(error, (kSingleProducts + 4) * kUnit / (1 - kSingleProducts * kUnit));
    // What is seen: roundings are random, (b / 3) u / sqrt(N) of positive sums, and five of it.
    EXPECT_LT(error, 5 * kSingleProducts * kUnit / 3 / std::sqrt(kSamples));
    EXPECT_GT(error, 1e-12);  // it is single precision
    // Of floats that were centred in single precision: an error of 2^-24 in each factor, averaged.
    EXPECT_LT(relative_error(sums.covariance(torch::kFloat64, how)), 4 * kUnit);
  }
}

TEST(CovariancePrecision, SumsOfAllKindsAreOne) {
  const Sums sums(100);
  const double largest = sums.exact.abs().max().item<double>();
  // As many roundings as there are samples, which partly cancel.
  const auto blocks = sums.covariance(torch::kFloat64);
  for (const auto how : kAllWays) {
    const auto sum = sums.covariance(torch::kFloat64, how);
    EXPECT_EQ(sum.layout().lies_on_first(),
              how == GramSum::kOnFirstRank && test::world().size() > 1);
    const auto same = redistribute(sum, blocks.layout());
    EXPECT_LT(largest_on_all(same.local() - blocks.local()), 1e-13 * largest);
    EXPECT_TRUE(sum.local().equal(sums.covariance(torch::kFloat64, how).local()));
  }
}

TEST(CovariancePrecision, TheErrorIsEstimated) {
  const Sums sums(1e6);
  const auto single = sums.covariance(torch::kFloat32);
  auto difference = torch::zeros({kFeatures, kFeatures}, torch::kFloat64);
  const auto wide = sums.covariance(torch::kFloat64);
  difference.index_put_(
      {single.layout().global_rows().unsqueeze(1), single.layout().global_columns().unsqueeze(0)},
      single.local() - wide.local());
  test::world().all_reduce(difference);
  const double norm = torch::linalg_matrix_norm(difference, 2).item<double>();
  // Errors of entries are not quite independent: within a factor of 3.
  const double estimate = sums.estimate(single);
  EXPECT_GT(estimate, norm / 3);
  EXPECT_LT(estimate, norm * 3);
  EXPECT_LT(sums.estimate(wide), 1e-12);
}

TEST(CovariancePrecision, IsEnoughForNarrowSpectraAndLargeEpsilon) {
  const auto enough = [](double condition, double epsilon, std::int64_t samples = kSamples) {
    const Sums sums(condition, samples);
    const auto single = sums.covariance(torch::kFloat32);
    return is_precise_enough(single, sums.estimate(single), epsilon, samples);
  };
  EXPECT_TRUE(enough(10, 0));
  EXPECT_FALSE(enough(1e6, 0));
  EXPECT_TRUE(enough(1e6, 1));
  // Fewer samples than features: there are eigenvalues of 0.
  EXPECT_FALSE(enough(10, 0, 200));
  // The answer is what the error and the eigenvalues say.
  const Sums sums(100);
  const auto covariance = sums.covariance(torch::kFloat64);
  const double least = torch::linalg_eigvalsh(sums.exact)[0].item<double>();
  EXPECT_TRUE(is_precise_enough(covariance, 0.99e-4 * least, 0, kSamples));
  EXPECT_FALSE(is_precise_enough(covariance, 1.01e-4 * least, 0, kSamples));
}

}  // namespace
}  // namespace eigenscale
