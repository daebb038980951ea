#include "eigenscale/data/index_permutation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace eigenscale {
namespace {

TEST(IndexPermutation, IsAPermutationOfEverySize) {
  for (std::int64_t n = 1; n <= 300; n += n < 40 ? 1 : 13) {
    const IndexPermutation permutation(n, 7);
    std::vector<int> hits(n, 0);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t image = permutation(i);
      ASSERT_GE(image, 0);
      ASSERT_LT(image, n);
      ++hits[image];
    }
    EXPECT_EQ(hits, std::vector<int>(n, 1)) << n;
  }
}

TEST(IndexPermutation, DependsOnTheSeedAlone) {
  const std::int64_t n = 1000;
  int equal = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    EXPECT_EQ(IndexPermutation(n, 1)(i), IndexPermutation(n, 1)(i));
    equal += IndexPermutation(n, 1)(i) == IndexPermutation(n, 2)(i) ? 1 : 0;
  }
  // Two random permutations agree in one place on average (Poisson): 10 has probability 1e-7.
  EXPECT_LT(equal, 10);
}

TEST(IndexPermutation, MixesLikeARandomOne) {
  // The correlation of index and image has standard deviation n^-1/2; five of them.
  const std::int64_t n = 100000;
  const IndexPermutation permutation(n, 3);
  double correlation = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    correlation += (static_cast<double>(i) / n - 0.5) *
                   (static_cast<double>(permutation(i)) / n - 0.5) * 12 / n;
  }
  EXPECT_LT(std::abs(correlation), 5 / std::sqrt(n));
}

}  // namespace
}  // namespace eigenscale
