#include "eigenscale/linalg/eigenvector_rows.h"

#include <limits>

#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/linalg/eigenvector_exchange.h"
#include "linalg_test_support.h"

namespace eigenscale {
namespace {

using test::world;

/// Column-major.
torch::Tensor vectors(std::int64_t rows, std::int64_t columns) {
  auto result = empty_column_major(rows, columns, torch::kFloat64);
  return result.copy_(test::random_matrix(rows, columns, 11));
}

/// What is to become of them.
torch::Tensor ordered(const torch::Tensor& vectors, const torch::Tensor& order) {
  const auto chosen = vectors.index_select(1, order);
  const auto largest = chosen.gather(0, chosen.abs().argmax(0, true));
  return (chosen * largest.sign()).contiguous();
}

TEST(LargestMagnitude, LooksAtEveryEntry) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(largest_magnitude(torch::empty({0, 4}, torch::kFloat64)), 0);
  for (const std::int64_t rows : {1, 7, 8, 21}) {
    auto matrix = vectors(rows, 5);
    // A part of it: what lies between its columns is not looked at.
    matrix[0][4] = kInfinity;
    const auto part = matrix.narrow(1, 0, 4);
    EXPECT_EQ(largest_magnitude(part), part.abs().max().item<double>());
    for (const auto& from : {part, part.contiguous()}) {
      auto copy = empty_column_major(rows, 4, torch::kFloat64);
      EXPECT_EQ(copy_with_largest(copy, from), largest_magnitude(part));
      EXPECT_TRUE(copy.equal(part));
    }
    for (std::int64_t i = 0; i < rows; ++i) {
      auto copy = vectors(rows, 5);
      copy[i][3] = -1e300;
      EXPECT_EQ(largest_magnitude(copy), 1e300);
      EXPECT_EQ(largest_magnitude(copy.t()), 1e300);
      for (const double value : {kInfinity, -kInfinity, std::nan("")}) {
        copy[i][3] = value;
        EXPECT_EQ(largest_magnitude(copy), kInfinity);
      }
    }
  }
}

TEST(EigenvectorRows, AreOrderedAndSigned) {
  for (const auto& [rows, columns] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 1}, {3, 50}, {130, 37}, {64, 16}}) {
    const auto found = vectors(rows, columns);
    const auto order = torch::arange(columns - 1, -1, -2, torch::kInt64);
    auto result = torch::empty({rows, order.size(0)}, torch::kFloat64);
    fill_rows(result, found, order, signs_by(column_extremes(found, order)));
    EXPECT_TRUE(result.equal(ordered(found, order)));
  }
  EXPECT_TRUE(column_extremes(vectors(0, 3), torch::arange(3))
                  .equal(torch::zeros({2, 3}, torch::kFloat64)));
}

TEST(EigenvectorRows, OfOneEntryButForSignAndRoundingKeepTheirs) {
  const auto extremes =
      torch::tensor({{1.0, 1.0, 1.0}, {1 + 1e-12, 1 + 1e-9, 0.5}}, torch::kFloat64);
  EXPECT_TRUE(signs_by(extremes).equal(torch::tensor({1.0, -1.0, 1.0}, torch::kFloat64)));
}

TEST(AgreedPairs, AreTheValuesOfTheFirstRankAndTheExtremesOfAll) {
  const auto ranks = static_cast<double>(world().size());
  const auto me = static_cast<double>(world().rank());
  const auto agreed =
      agreed_pairs(world(), torch::tensor({-3.0 + me, 0.0, 2 + 1e-9 * me}, torch::kFloat64),
                   torch::tensor({{me, -me, 0.5}, {-me, 0.0, me}}, torch::kFloat64));
  EXPECT_TRUE(agreed.values.equal(torch::tensor({-3.0, 0.0, 2.0}, torch::kFloat64)));
  EXPECT_TRUE(agreed.extremes.equal(
      torch::tensor({{ranks - 1, 0.0, 0.5}, {0.0, 0.0, ranks - 1}}, torch::kFloat64)));
}

TEST(AgreedPairs, AreRefusedOnAllRanksWhereAValueIsNotFinite) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double value : {std::nan(""), kInfinity, -kInfinity}) {
    // On the first rank, whose values count.
    const auto values = torch::tensor({1.0, world().rank() == 0 ? value : 2.0}, torch::kFloat64);
    try {
      agreed_pairs(world(), values, torch::ones({2, 2}, torch::kFloat64));
      FAIL() << "did not throw";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit_code(), ExitCode::kNumerical);
      EXPECT_TRUE(error.agreed());
    }
  }
}

TEST(EigenvectorRows, AreDealtOutFromAGrid) {
  for (const std::int64_t n : {1, 10, 101}) {  // some ranks own none
    const RowPartition partition(n, world().size());
    const auto own = partition.range(world().rank());
    const auto whole = vectors(n, n);
    // Every third column, the last first.
    const auto order = torch::arange(n - 1, -1, -3, torch::kInt64);
    auto places = torch::full({n}, -1, torch::kInt64);
    places.index_put_({order}, torch::arange(order.size(0)));
    for (const auto& grid : test::all_grids()) {
      // The last puts all on the first rank.
      for (const std::int64_t block : {std::int64_t{1}, std::int64_t{8}, std::int64_t{32}, n}) {
        const auto matrix = test::distribute(whole, {n, n, block, block, grid});
        const auto extremes = own_column_extremes(matrix);
        world().all_reduce(extremes, ReduceOp::kMax);
        // A rank that has nothing of a column says 0, which no column of numbers of both signs
        // differs by, and no sign.
        EXPECT_TRUE(signs_by(extremes).equal(signs_by(column_extremes(whole, torch::arange(n)))));
        auto rows = torch::empty({own.size(), order.size(0)}, torch::kFloat64);
        deal_rows(matrix, partition, places, signs_by(extremes), rows);
        EXPECT_TRUE(rows.equal(ordered(whole, order).narrow(0, own.begin, own.size())));
      }
    }
  }
}

}  // namespace
}  // namespace eigenscale
