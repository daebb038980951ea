#include "eigenscale/linalg/products.h"

#include <tuple>

#include "eigenscale/linalg/gram.h"
#include "eigenscale/linalg/singular_values.h"
#include "linalg_test_support.h"

namespace eigenscale {
namespace {

using test::world;

TEST(Products, EqualTheDenseProductForEveryTransposition) {
  for (const auto& grid : test::all_grids()) {
    for (const auto type : {torch::kFloat64, torch::kFloat32}) {
      for (const bool transpose_a : {false, true}) {
        for (const bool transpose_b : {false, true}) {
          const std::int64_t m = 11;
          const std::int64_t n = 6;
          const std::int64_t k = 9;
          const auto a = test::random_matrix(m, k, 1).to(type);
          const auto b = test::random_matrix(k, n, 2).to(type);
          const auto stored_a = transpose_a ? a.t().contiguous() : a;
          const auto stored_b = transpose_b ? b.t().contiguous() : b;
          const auto layout = [&](const torch::Tensor& matrix) {
            return BlockCyclicLayout{matrix.size(0), matrix.size(1), 2, 2, grid};
          };
          const auto c =
              multiply(test::distribute(stored_a, layout(stored_a)),
                       test::distribute(stored_b, layout(stored_b)), transpose_a, transpose_b);
          // k terms of order one: k eps.
          const double bound = type == torch::kFloat64 ? 1e-13 : 1e-5;
          EXPECT_TRUE(c.local().allclose(test::local_part(a.matmul(b), c.layout()), 0, bound));
        }
      }
    }
  }
}

// Fewer and more rows than a panel, columns than travel at once, blocks than ranks.
TEST(Gram, EqualsTheDenseProduct) {
  for (const auto& grid : test::all_grids()) {
    for (const auto& [n, k, block, column_block] : {std::tuple{11, 7, 2, 2},
                                                    {7, 11, 3, 1},
                                                    {1, 5, 2, 2},
                                                    {40, 1100, 4, 600},
                                                    {530, 9, 8, 8},
                                                    {600, 3, 32, 1}}) {
      const auto a = test::random_matrix(n, k, 4);
      const BlockCyclicLayout square{n, n, block, block, grid};
      const BlockCyclicLayout tall{n, k, block, column_block, grid};
      auto sum = DistributedMatrix::zeros(square, torch::kFloat64);
      for (int turn = 0; turn < 2; ++turn) {
        add_gram(sum, test::distribute(a, tall));
      }
      mirror_lower(sum);
      // k terms of order one, at most ten: k eps, twice.
      EXPECT_TRUE(sum.local().allclose(test::local_part(2 * a.matmul(a.t()), square), 0,
                                       1e-15 * 20 * (k + 10)))
          << n << " " << k;
    }
  }
  // Of floats: products of at most kSingleProducts in single precision, whose bound the header has.
  for (const auto& grid : test::all_grids()) {
    const auto a = test::random_matrix(300, 1100, 6).to(torch::kFloat32);
    auto sum = DistributedMatrix::zeros({300, 300, 4, 4, grid}, torch::kFloat64);
    add_gram(sum, test::distribute(a, {300, 1100, 4, 100, grid}));
    mirror_lower(sum);
    const auto wide = a.to(torch::kFloat64);
    const auto error = (sum.local() - test::local_part(wide.matmul(wide.t()), sum.layout())).abs();
    const auto bound = 6.2e-5 * test::local_part(wide.abs().matmul(wide.abs().t()), sum.layout());
    EXPECT_TRUE((error <= bound).all().item<bool>());
  }
  // More than one block of the local mirror.
  for (const auto type : {torch::kFloat64, torch::kFloat32}) {
    const auto x = test::random_matrix(600, 5, 5).to(type);
    const auto sum = torch::zeros({600, 600}, type);
    add_gram(sum, x);
    mirror_lower(sum);
    EXPECT_TRUE(sum.allclose(x.matmul(x.t()), 0, type == torch::kFloat64 ? 1e-13 : 1e-5));
  }
}

TEST(Gram, OfRowsIsWidenedBlockByBlock) {
  // Several panels of the sum, and more rows than are multiplied at a time.
  const auto x = test::random_matrix(1300, 1100, 6).to(torch::kFloat32);
  const auto wide = x.to(torch::kFloat64);
  auto sum = torch::full({1100, 1100}, 3.0, torch::kFloat64);
  add_widened_gram_of_rows(sum, x);
  const auto error = (sum - 3 - wide.t().matmul(wide)).tril().abs();
  EXPECT_TRUE((error <= 6.2e-5 * wide.abs().t().matmul(wide.abs())).all().item<bool>());
  EXPECT_TRUE(sum.triu(1).equal(torch::full_like(sum, 3).triu(1)));
}

TEST(SingularValues, EqualThoseOfTheDenseMatrix) {
  for (const auto& [rows, columns] :
       std::vector<std::pair<std::int64_t, std::int64_t>>{{20, 5}, {6, 15}, {1, 4}}) {
    const auto whole = test::random_matrix(rows, columns, 3);
    const RowPartition partition(rows, world().size());
    const auto range = partition.range(world().rank());
    const auto expected = std::get<1>(torch::linalg_svd(whole, false));
    const auto found = singular_values(whole.narrow(0, range.begin, range.size()), partition,
                                       test::all_grids().front());
    // The Gram matrix squares: sqrt(eps) of the largest value.
    EXPECT_TRUE(found.allclose(expected, 0, 1.5e-8 * expected[0].item<double>()));
  }
}

}  // namespace
}  // namespace eigenscale
