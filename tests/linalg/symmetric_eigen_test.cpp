#include "eigenscale/linalg/symmetric_eigen.h"

#include <algorithm>
#include <array>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/eigen_backends.h"
#include "linalg_test_support.h"

namespace eigenscale {
namespace {

using test::world;

/// A symmetric matrix with this spectrum and random vectors.
torch::Tensor with_spectrum(const torch::Tensor& values) {
  const std::int64_t n = values.size(0);
  const auto q = std::get<0>(torch::linalg_qr(test::random_matrix(n, n, 17)));
  const auto matrix = (q * values).matmul(q.t());
  return (matrix + matrix.t()) / 2;
}

std::vector<EigenSolver> solvers() {
  std::vector<EigenSolver> result = {EigenSolver::kAutomatic, EigenSolver::kLapack};
  for (const auto& name : eigen_solvers()) {
    if (name.starts_with("ScaLAPACK")) {
      result.push_back(EigenSolver::kScalapack);
    }
    if (name.starts_with("ELPA one")) {
      result.push_back(EigenSolver::kElpaOneStage);
    }
    if (name.starts_with("ELPA two")) {
      result.push_back(EigenSolver::kElpaTwoStage);
    }
  }
  return result;
}

bool applicable(EigenSolver solver, std::int64_t n) {
  const bool elpa = solver == EigenSolver::kElpaOneStage || solver == EigenSolver::kElpaTwoStage;
  return !elpa || n >= 8;  // every process must own a block of the layouts below
}

/// What has been solved with what, by index: every pair of spectrum, grid, solver and range occurs,
/// not every combination.
using Pairs = std::set<std::array<std::size_t, 4>>;

void check(std::size_t number, const torch::Tensor& spectrum, std::int64_t block, Pairs& pairs) {
  const std::int64_t n = spectrum.size(0);
  const auto whole = with_spectrum(spectrum);
  const double norm = spectrum.abs().max().item<double>();
  // Backward stability: a modest multiple of n eps ||A||, and n eps for orthogonality.
  const double bound = 20 * static_cast<double>(n) * std::numeric_limits<double>::epsilon();
  const std::int64_t few = std::max<std::int64_t>(1, n / 10);
  const std::array ranges = {EigenRange::all(), EigenRange::largest(few), EigenRange::smallest(few),
                             EigenRange::largest_magnitude(few)};
  const auto& grids = test::all_grids();
  const auto all_solvers = solvers();
  for (std::size_t turn = 0; turn < std::max(all_solvers.size(), grids.size()); ++turn) {
    const std::size_t s = turn % all_solvers.size();
    const std::size_t g = (number + number / 4 + turn) % grids.size();
    const auto matrix = test::distribute(whole, {n, n, block, block, grids[g]});
    if (!applicable(all_solvers[s], n)) {
      continue;
    }
    for (std::size_t r = (number + turn) % 2; r < ranges.size(); r += 2) {
      const auto& range = ranges[r];
      const auto found = symmetric_eigen(matrix, range, {.solver = all_solvers[s], .verify = true});
      SCOPED_TRACE(testing::Message() << found.solver << ", block " << block);
      auto expected = std::get<0>(spectrum.sort(0, true));
      if (range.kind == EigenRange::Kind::kSmallest) {
        expected = expected.flip(0).narrow(0, 0, few);
      } else if (range.kind == EigenRange::Kind::kLargest) {
        expected = expected.narrow(0, 0, few);
      } else if (range.kind == EigenRange::Kind::kLargestMagnitude) {
        const auto order = std::get<1>(expected.abs().sort(true, 0, true));
        expected = expected.index_select(0, order).narrow(0, 0, few);
      }
      EXPECT_TRUE(found.values.abs().allclose(expected.abs(), 0, bound * norm));
      EXPECT_LT(found.residual, bound * norm / found.values.abs().max().item<double>());
      EXPECT_LT(found.orthogonality, bound);
      const std::array indices = {number, g, s, r};
      for (std::size_t a = 0; a < indices.size(); ++a) {
        for (std::size_t b = 0; b < a; ++b) {
          pairs.insert({a, indices[a], b, indices[b]});
        }
      }
    }
    // The matrix is left as it was.
    EXPECT_TRUE(matrix.local().equal(test::local_part(whole, matrix.layout())));
  }
}

TEST(SymmetricEigen, SolvesSpectraOfAllKinds) {
  const std::vector<std::pair<torch::Tensor, std::int64_t>> spectra = {
      {torch::linspace(-1, 2, 31, torch::kFloat64), 4},
      {torch::linspace(-2, 1, 100, torch::kFloat64), 8},
      {torch::ones({24}, torch::kFloat64), 2},
      {torch::cat({torch::ones({20}), torch::full({20}, -1.0), torch::zeros({23})})
           .to(torch::kFloat64),
       8},
      {torch::logspace(-8, 3, 65, 10, torch::kFloat64), 16},
      // Last: too small for some solvers, so that they add no pairs with those.
      {torch::tensor({2.5}, torch::kFloat64), 1},
      {torch::tensor({1.0, -3.0}, torch::kFloat64), 1}};
  Pairs pairs;
  for (std::size_t i = 0; i < spectra.size(); ++i) {
    check(i, spectra[i].first, spectra[i].second, pairs);
  }
  const std::array<std::size_t, 4> kinds = {spectra.size() - 2, test::all_grids().size(),
                                            solvers().size(), 4};
  for (std::size_t a = 0; a < kinds.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      for (std::size_t i = 0; i < kinds[a]; ++i) {
        for (std::size_t j = 0; j < kinds[b]; ++j) {
          EXPECT_TRUE(pairs.contains({a, i, b, j})) << a << " " << i << " with " << b << " " << j;
        }
      }
    }
  }
}

TEST(SymmetricEigen, OblongBlocksAndSignsAreTakenCareOf) {
  const auto whole = with_spectrum(torch::linspace(1, 9, 37, torch::kFloat64));
  const auto reference = symmetric_eigen(
      test::distribute(whole, {37, 37, 4, 4, test::all_grids()[0]}), EigenRange::largest(3));
  for (const auto& grid : test::all_grids()) {
    const auto found =
        symmetric_eigen(test::distribute(whole, {37, 37, 10, 5, grid}), EigenRange::largest(3));
    // Vectors of separated eigenvalues, gap 0.2 of norm 9: n eps norm / gap, times ten.
    EXPECT_TRUE(found.vectors.allclose(reference.vectors, 0, 10 * 37 * 2.2e-16 * 9 / 0.2));
  }
}

/// The pairs wanted of a matrix with this spectrum: right to rounding, whatever its scale.
void check_pairs(const torch::Tensor& matrix, const BlockCyclicLayout& layout, EigenRange range,
                 EigenSolver solver) {
  const auto found =
      symmetric_eigen(test::distribute(matrix, layout), range, {.solver = solver, .verify = true});
  SCOPED_TRACE(testing::Message() << found.solver << ", largest entry "
                                  << matrix.abs().max().item<double>());
  EXPECT_LT(found.residual, 1e-12);
  EXPECT_LT(found.orthogonality, 1e-12);
}

TEST(SymmetricEigen, EntriesMayBeTinyAndHuge) {
  const auto whole = with_spectrum(torch::linspace(0.1, 3, 24, torch::kFloat64));
  const auto& grid = test::all_grids().back();
  for (const double scale : {1e-300, 1e-150, 1e-16, 1e16, 1e150, 1e300}) {
    for (const auto solver : solvers()) {
      for (const auto& range :
           {EigenRange::all(), EigenRange::largest(3), EigenRange::largest_magnitude(3)}) {
        check_pairs(whole * scale, {24, 24, 4, 4, grid}, range, solver);
      }
    }
    const auto local = symmetric_eigen(whole * scale);
    EXPECT_TRUE(local.values.div(scale).allclose(torch::linspace(3, 0.1, 24, torch::kFloat64)));
  }
  const auto zeros = symmetric_eigen(
      test::distribute(torch::zeros({24, 24}, torch::kFloat64), {24, 24, 4, 4, grid}),
      EigenRange::largest(2), {.verify = true});
  EXPECT_EQ(zeros.values.abs().max().item<double>(), 0);
  EXPECT_LT(zeros.orthogonality, 1e-13);
}

TEST(SymmetricEigen, VectorsOfOneEigenspaceAtBothEndsAreOrthogonal) {
  const auto repeated = [](double value, std::int64_t count) {
    return torch::full({count}, value, torch::kFloat64);
  };
  const auto& grid = test::all_grids().back();
  for (const auto& spectrum : {
           torch::cat({repeated(1, 2), repeated(0, 98)}),
           torch::cat({repeated(-1, 2), repeated(1, 1), repeated(0, 97)}),
           torch::cat({repeated(-1, 1), repeated(1e-9, 40), repeated(-1e-9, 59)}),
           repeated(-2, 100),
       }) {
    const auto matrix = with_spectrum(spectrum);
    for (const auto solver : solvers()) {
      check_pairs(matrix, {100, 100, 8, 8, grid}, EigenRange::largest_magnitude(10), solver);
    }
  }
}

TEST(LapackEigen, IsRightWithoutDivideAndConquer) {
  const auto spectrum = torch::linspace(-1, 2, 60, torch::kFloat64);
  const auto matrix = with_spectrum(spectrum);
  auto copy = empty_column_major(60, 60, torch::kFloat64);
  copy.copy_(matrix);
  const auto pairs = lapack_eigen_tridiagonal(copy, EigenRange::all());
  EXPECT_TRUE(pairs.values.allclose(spectrum, 0, 1e-13));
  EXPECT_LT(
      (matrix.matmul(pairs.vectors) - pairs.vectors * pairs.values).abs().max().item<double>(),
      1e-13);
  EXPECT_LT((pairs.vectors.t().matmul(pairs.vectors) - torch::eye(60, torch::kFloat64))
                .abs()
                .max()
                .item<double>(),
            1e-13);
}

TEST(ScalapackEigen, RefusesAWorkSpaceThatCannotBeCounted) {
  const auto& grid = test::all_grids().back();
  EXPECT_NO_THROW(require_scalapack_workspace(square_layout(30000, grid)));
  try {
    require_scalapack_workspace(square_layout(200000, grid));
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kOptions);
    EXPECT_TRUE(error.agreed());
    EXPECT_THAT(error.what(), testing::HasSubstr("ranks or a build with ELPA"));
  }
}

TEST(SymmetricEigen, RefusesWhatIsNotFiniteOnAllRanks) {
  auto whole = torch::eye(12, torch::kFloat64);
  whole[11][11] = std::numeric_limits<double>::quiet_NaN();
  try {
    symmetric_eigen(test::distribute(whole, {12, 12, 2, 2, test::all_grids()[0]}),
                    EigenRange::all());
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kNumerical);
    EXPECT_TRUE(error.agreed());
  }
}

TEST(OneRankEigen, IsFasterForTwoRanksBySizeAndShare) {
  const auto faster = [](std::int64_t n, std::int64_t count, std::int64_t ranks) {
    return one_rank_is_faster(n, static_cast<double>(count) / static_cast<double>(n), ranks);
  };
  for (const std::int64_t ranks : {1, 3, 4}) {
    EXPECT_FALSE(faster(1000, 10, ranks));
  }
  // All pairs: 900 to 4,096.
  EXPECT_FALSE(faster(899, 899, 2));
  EXPECT_TRUE(faster(900, 900, 2));
  EXPECT_TRUE(faster(4096, 4096, 2));
  EXPECT_FALSE(faster(4097, 1, 2));
  // 5 %, and not more, from 500 on.
  EXPECT_FALSE(faster(499, 1, 2));
  EXPECT_TRUE(faster(500, 25, 2));
  EXPECT_FALSE(faster(500, 26, 2));
  EXPECT_TRUE(faster(580, 29, 2));
  EXPECT_FALSE(faster(580, 30, 2));
  // 10 %, and not more, from 600 on.
  EXPECT_FALSE(faster(599, 59, 2));
  EXPECT_TRUE(faster(600, 60, 2));
  EXPECT_FALSE(faster(600, 61, 2));
  EXPECT_TRUE(faster(890, 89, 2));
  EXPECT_FALSE(faster(890, 90, 2));
  // Up to 1,448 x 1,448 four of the matrix are 64 MiB.
  EXPECT_FALSE(asks_for_memory(1448));
  EXPECT_TRUE(asks_for_memory(1449));
}

TEST(SymmetricEigen, OfTwoRanksOneSolvesWithTheThreadsOfBoth) {
  const int threads = torch::get_num_threads();
  // Small matrices are not worth the way, but for few vectors.
  for (const auto& [n, count] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {60, 5}, {520, 5}, {520, 50}, {820, 50}}) {
    if (n > 520 && world().size() > 2) {
      continue;  // no rank would solve it alone
    }
    const auto whole = with_spectrum(torch::arange(1, n + 1, torch::kFloat64));
    const auto exact = torch::arange(n, n - count, -1, torch::kFloat64);
    for (const auto& grid : test::all_grids()) {
      const auto matrix = test::distribute(whole, {n, n, 8, 8, grid});
      for (const auto& range : {EigenRange::largest(count), EigenRange::largest_magnitude(count)}) {
        const auto found = symmetric_eigen(matrix, range, {.one_rank = true, .verify = true});
        EXPECT_EQ(found.solver.find("on one rank") != std::string::npos,
                  (n == 820 || (n == 520 && count == 5)) && world().size() == 2)
            << found.solver;
        EXPECT_EQ(torch::get_num_threads(), threads);
        // As many roundings of the largest eigenvalue as there are rows.
        EXPECT_LT((found.values - exact).abs().max().item<double>(), 1e-15 * 10 * n * n);
        EXPECT_LT(found.residual, 1e-15 * 10 * n);
        EXPECT_LT(found.orthogonality, 1e-15 * 10 * n);
      }
      // Unless allowed, no rank holds the whole matrix.
      const auto shared = symmetric_eigen(matrix, EigenRange::largest(count));
      EXPECT_EQ(shared.solver.find("on one rank"), std::string::npos) << shared.solver;
    }
  }
}

TEST(SymmetricEigen, TakesAMatrixThatLiesOnTheFirstRank) {
  const std::int64_t n = 520;
  const auto exact = torch::arange(n, 0, -1, torch::kFloat64);
  const auto whole = with_spectrum(torch::arange(1, n + 1, torch::kFloat64));
  const auto matrix = test::distribute(whole, one_block(n, test::all_grids().back()));
  const auto before = matrix.local().clone();
  // The first alone finds few where it may; all, or where it may not, they share it out.
  for (const std::int64_t count : {std::int64_t{5}, n}) {
    for (const bool may : {true, false}) {
      const auto found =
          symmetric_eigen(matrix, EigenRange::largest(count), {.one_rank = may, .verify = true});
      EXPECT_EQ(found.solver.find("on one rank") != std::string::npos,
                may && count == 5 && world().size() == 2)
          << found.solver;
      EXPECT_LT((found.values - exact.narrow(0, 0, count)).abs().max().item<double>(),
                1e-15 * 10 * n * n);
      EXPECT_LT(found.residual, 1e-15 * 10 * n);
      EXPECT_LT(found.orthogonality, 1e-15 * 10 * n);
    }
  }
  EXPECT_TRUE(matrix.local().equal(before));
}

TEST(ElpaEigen, FindsAllPairsWhereManyAreWanted) {
  EXPECT_EQ(elpa_pairs(100, EigenRange::all()), 100);
  EXPECT_EQ(elpa_pairs(100, EigenRange::largest(25)), 25);
  EXPECT_EQ(elpa_pairs(100, EigenRange::largest(26)), 100);
  EXPECT_EQ(elpa_pairs(100, EigenRange::smallest(25)), 25);
  EXPECT_EQ(elpa_pairs(100, EigenRange::largest_magnitude(12)), 24);
  EXPECT_EQ(elpa_pairs(100, EigenRange::largest_magnitude(13)), 100);
}

}  // namespace
}  // namespace eigenscale
