#include "eigenscale/spectral/krylov_pca.h"

#include <limits>
#include <tuple>

#include "eigenscale/core/errors.h"
#include "eigenscale/data/spectrum.h"
#include "spectral/spectra.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

/// Samples that all ranks know, and what their covariance says.
struct Known {
  torch::Tensor rows;  // N x D
  torch::Tensor mean;
  torch::Tensor values;  // descending
};

Known known(const torch::Tensor& rows) {
  const auto exact = rows.to(torch::kFloat64);
  const auto mean = exact.mean(0);
  const auto centred = exact - mean;
  const auto covariance = centred.t().matmul(centred) / static_cast<double>(rows.size(0));
  return {rows, mean, std::get<0>(torch::linalg_eigh(covariance)).flip(0).clamp_min(0)};
}

/// Rows with the standard deviations `scales` along random directions, and a mean.
Known samples(std::int64_t count, const torch::Tensor& scales, double mean,
              torch::ScalarType type) {
  torch::manual_seed(3);
  const std::int64_t features = scales.numel();
  const auto directions =
      std::get<0>(torch::linalg_qr(torch::randn({features, features}, torch::kFloat64)));
  const auto rows =
      (torch::randn({count, features}, torch::kFloat64) * scales).matmul(directions) + mean;
  return known(rows.to(type));
}

LeadingComponents components_of(const Known& data, const KrylovPcaOptions& options) {
  const auto own =
      RowPartition(data.rows.size(0), test::world().size()).range(test::world().rank());
  const MemoryRows rows(data.rows.narrow(0, own.begin, own.size()));
  // Pieces of 17 rows: the last one is ragged on every rank count.
  const std::int64_t bytes = 17 * data.rows.size(1) * data.rows.element_size();
  const RowStream stream(test::world(), rows,
                         {.type = data.rows.scalar_type(), .piece_bytes = bytes});
  return leading_components(test::world(), stream, data.mean, options);
}

torch::Tensor all_rows(const torch::Tensor& own, std::int64_t count) {
  auto all = torch::empty({count, own.size(1)}, torch::kFloat64);
  test::world().all_gather(all, own.contiguous(),
                           RowPartition(count, test::world().size()).counts());
  return all;
}

/// The pairs are eigenpairs of the covariance within `bound` of its largest eigenvalue.
void expect_eigenpairs(const Known& data, const LeadingComponents& found, double bound) {
  const auto k = found.eigenvalues.numel();
  const double largest = data.values[0].item<double>();
  const auto errors = (found.eigenvalues - data.values.narrow(0, 0, k)).abs() / largest;
  EXPECT_LT(errors.max().item<double>(), bound) << errors;
  const auto vectors = all_rows(found.vectors, data.mean.numel());
  const auto overlap = vectors.t().matmul(vectors) - torch::eye(k, torch::kFloat64);
  EXPECT_LT(overlap.abs().max().item<double>(), 1e-12);
  const auto centred = data.rows.to(torch::kFloat64) - data.mean;
  const auto image =
      centred.t().matmul(centred.matmul(vectors)) / static_cast<double>(data.rows.size(0));
  const auto residuals = (image - vectors * found.eigenvalues).norm(2, {0}) / largest;
  // What the run says of itself is true up to the rounding of its products.
  EXPECT_LT((residuals - found.residuals).abs().max().item<double>(), bound);
  const double trace = data.values.sum().item<double>();
  EXPECT_NEAR(found.total_variance, trace, 1e-6 * trace);
}

TEST(KrylovPca, FindsTheLeadingPairsOfADecayingSpectrum) {
  const auto scales = torch::pow(0.8, torch::arange(60, torch::kFloat64));
  for (const std::int64_t count : {30, 200}) {
    const auto data = samples(count, scales, 0, torch::kFloat64);
    const auto found = components_of(data, {.components = 5});
    EXPECT_EQ(found.passes, 4);
    // 15 columns, 4 blocks: all the space there is for 60 features.
    expect_eigenpairs(data, found, 1e-12);
  }
}

TEST(KrylovPca, ConvergesWithTheNumberOfBlocks) {
  // A slow decay: the space has 24 of 300 dimensions. The error of a Ritz value is at most its
  // residual, and quadratic in it where the gap is not small.
  const auto scales = torch::pow(0.97, torch::arange(300, torch::kFloat64));
  const auto data = samples(500, scales, 0, torch::kFloat64);
  double before = std::numeric_limits<double>::infinity();
  for (const std::int64_t blocks : {1, 2, 4}) {
    const auto found = components_of(data, {.components = 2, .oversampling = 4, .blocks = blocks});
    EXPECT_EQ(found.passes, blocks);
    const auto errors = (data.values.narrow(0, 0, 2) - found.eigenvalues) / data.values[0];
    EXPECT_TRUE((errors <= found.residuals).all().item<bool>()) << errors << found.residuals;
    EXPECT_GT(errors.min().item<double>(), -1e-12);  // Ritz values come from below
    const double residual = found.residuals.max().item<double>();
    EXPECT_LT(residual, before / 2);
    before = residual;
  }
  EXPECT_LT(before, 0.05);
}

TEST(KrylovPca, TakesHardSpectra) {
  for (const auto& [name, values] : test::hard_spectra(24)) {
    SCOPED_TRACE(name);
    for (const std::int64_t components : {1, 24}) {
      const auto data = samples(80, values.sqrt(), 0, torch::kFloat64);
      expect_eigenpairs(data, components_of(data, {.components = components, .blocks = 24}), 1e-12);
    }
  }
}

TEST(KrylovPca, TakesDataOfLowRank) {
  auto scales = torch::zeros({50}, torch::kFloat64);
  scales.narrow(0, 0, 3).fill_(2);
  const auto data = samples(40, scales, 5, torch::kFloat64);
  // Beyond three directions there is nothing: the Krylov space ends in rounding.
  expect_eigenpairs(data, components_of(data, {.components = 6, .oversampling = 4}), 1e-12);
}

TEST(KrylovPca, KeepsDigitsOfFloatsWithALargeMean) {
  const auto scales = torch::pow(0.9, torch::arange(40, torch::kFloat64));
  const auto data = samples(400, scales, 1e4, torch::kFloat32);
  // Products of 17 floats, 2^-24 each, of centred samples: about 1e-6 of the largest eigenvalue. A
  // mean rounded to float (5e-4 at 1e4) would add 40 * 2.5e-7 = 1e-5 along one direction.
  expect_eigenpairs(data, components_of(data, {.components = 4}), 2e-6);
}

// Spectra known without any other solver, for more features than samples and fewer.
TEST(KrylovPca, FindsKnownSpectraOfWideAndTallData) {
  struct Case {
    std::int64_t samples, features, rank, components;
    std::string law;
    double decay;
  };
  for (const auto& [count, features, rank, components, law, decay] :
       std::vector<Case>{{40, 300, 0, 1, "power", 2},
                         {40, 300, 0, 39, "power", 1},        // all that 40 samples have
                         {40, 300, 12, 5, "geometric", 1},    // one variance, twelve times
                         {300, 40, 0, 40, "geometric", 0.8},  // k = D
                         {300, 40, 7, 12, "power", 1}}) {     // beyond the rank
    SCOPED_TRACE(std::to_string(count) + " x " + std::to_string(features) + ", " + law);
    const SpectrumData source({.samples = count,
                               .ambient_dim = features,
                               .law = law,
                               .decay = decay,
                               .rank = rank,
                               .mean = 20});
    const Known data = {source.make({0, count}), source.mean(), {}};
    const auto found = components_of(data, {.components = components, .blocks = 40});
    const auto kept = std::min(components, source.variances().numel());
    const auto expected = source.variances().narrow(0, 0, kept);
    const double largest = expected[0].item<double>();
    // Rounding of sums of 40 to 300 products: the number of them times 2^-53.
    EXPECT_LT((found.eigenvalues.narrow(0, 0, kept) - expected).abs().max().item<double>(),
              1e-12 * largest);
    if (kept < components) {
      EXPECT_LT(found.eigenvalues.narrow(0, kept, components - kept).max().item<double>(),
                1e-12 * largest);
    }
    EXPECT_LT(found.residuals.max().item<double>(), 1e-12);
    // The vectors lie in the span of the directions whose variances are not smaller.
    const auto vectors = all_rows(found.vectors, features).narrow(1, 0, kept);
    const auto span = source.directions({0, source.variances().numel()});
    EXPECT_LT((span.matmul(vectors).norm(2, {0}) - 1).abs().max().item<double>(), 1e-9);
  }
}

TEST(KrylovPca, StopsWhenVariancesAreKnown) {
  const auto run = [](double decay, double tolerance, std::int64_t blocks = 9) {
    const SpectrumData source(
        {.samples = 400, .ambient_dim = 900, .law = "power", .decay = decay, .rank = 300});
    const Known data = {source.make({0, 400}).to(torch::kFloat32), source.mean(), {}};
    const auto found = components_of(
        data, {.components = 8, .oversampling = 8, .blocks = blocks, .tolerance = tolerance});
    const auto expected = source.variances().narrow(0, 0, 8);
    return std::pair{((found.eigenvalues - expected) / expected).abs().max().item<double>(),
                     found.passes};
  };
  const auto [error_of_fast, passes_of_fast] = run(3, 5e-5);
  const auto [error_of_slow, passes_of_slow] = run(1, 5e-5);
  EXPECT_LT(error_of_fast, 1e-4);
  EXPECT_LT(error_of_slow, 1e-4);
  EXPECT_LT(passes_of_fast, passes_of_slow);
  EXPECT_LT(passes_of_slow, 9);
  EXPECT_EQ(run(3, 0).second, 9);
  // One block less had not been enough: no pass was made only to see that it changed nothing.
  EXPECT_GT(run(3, 0, passes_of_fast - 1).first, 5e-5);
  EXPECT_GT(run(1, 0, passes_of_slow - 1).first, 5e-5);
  // A looser tolerance stops earlier, and is kept, too.
  const auto [error_of_loose, passes_of_loose] = run(1, 1e-2);
  EXPECT_LT(passes_of_loose, passes_of_slow);
  EXPECT_LT(error_of_loose, 1e-2);
}

TEST(KrylovPca, RefusesMoreComponentsThanThereAre) {
  const auto data = samples(10, torch::ones({6}, torch::kFloat64), 0, torch::kFloat64);
  try {
    components_of(data, {.components = 7});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kInput);
    EXPECT_THAT(error.what(), testing::HasSubstr("at most 6"));
  }
}

TEST(KrylovPca, IsBitIdenticalWhenRepeated) {
  const auto data = samples(90, torch::ones({33}, torch::kFloat64), 0, torch::kFloat32);
  const auto one = components_of(data, {.components = 3});
  const auto two = components_of(data, {.components = 3});
  EXPECT_TRUE(torch::equal(one.eigenvalues, two.eigenvalues));
  EXPECT_TRUE(torch::equal(one.vectors, two.vectors));
}

TEST(OrthonormalColumns, AreOrthonormalForAnyCondition) {
  torch::manual_seed(5);
  const RowPartition partition(23, test::world().size());
  auto all = torch::randn({23, 6}, torch::kFloat64) *
             torch::pow(10.0, -4 * torch::arange(6, torch::kFloat64));
  all.select(1, 5).copy_(all.select(1, 4));
  const auto own = partition.range(test::world().rank());
  const auto columns =
      all_rows(orthonormal_columns(test::world(), all.narrow(0, own.begin, own.size())), 23);
  const auto overlap = columns.t().matmul(columns) - torch::eye(6, torch::kFloat64);
  EXPECT_LT(overlap.abs().max().item<double>(), 1e-14 * 23);
  // The span is the same: nothing of the independent columns lies outside.
  const auto part = all.narrow(1, 0, 5);
  const auto outside = part - columns.matmul(columns.t().matmul(part));
  EXPECT_LT((outside.norm(2, {0}) / part.norm(2, {0})).max().item<double>(), 1e-13);
}

}  // namespace
}  // namespace eigenscale
