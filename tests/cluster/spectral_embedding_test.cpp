#include "eigenscale/cluster/spectral_embedding.h"

#include "cluster_test_support.h"
#include "eigenscale/cluster/affinity.h"

namespace eigenscale {
namespace {

using test::world;

TEST(SpectralEmbedding, IsOrthonormalAndSolvesTheNormalisedProblem) {
  constexpr std::int64_t kSamples = 41;
  const auto grid = test::all_grids().front();
  const RowPartition partition(kSamples, world().size());
  const auto random = test::random_matrix(kSamples, kSamples, 81).abs();
  auto affinity = random + random.t();
  affinity[7].zero_();
  affinity.select(1, 7).zero_();  // an isolated sample
  auto matrix = DistributedMatrix::zeros(spectral_layout(kSamples, grid), torch::kFloat64);
  matrix.local().copy_(test::local_part(affinity, matrix.layout()));
  const auto embedding = spectral_embedding(matrix, partition, 4);
  EXPECT_EQ(embedding.isolated, 1);
  EXPECT_EQ(embedding.components, 1);

  auto gram = embedding.rows.t().matmul(embedding.rows);
  world().all_reduce(gram);
  // n eps, times a small constant of the eigensolver.
  const double bound = 50 * kSamples * 2.2e-16;
  EXPECT_TRUE(gram.allclose(torch::eye(4, torch::kFloat64), 0, bound));

  auto dense = affinity.clone().fill_diagonal_(0);
  auto scale = dense.sum(1).rsqrt();
  scale[7] = 0;
  dense = scale.unsqueeze(1) * dense * scale.unsqueeze(0);
  const auto range = partition.range(world().rank());
  auto all = torch::zeros({kSamples, 4}, torch::kFloat64);
  all.narrow(0, range.begin, range.size()).copy_(embedding.rows);
  world().all_reduce(all);
  const auto residual = dense.matmul(all) - all * embedding.eigenvalues.narrow(0, 0, 4);
  EXPECT_LT(residual.abs().max().item<double>(), bound);
  EXPECT_NEAR(embedding.eigenvalues[0].item<double>(), 1, bound);
}

TEST(SpectralEmbedding, CountsConnectedParts) {
  const auto grid = test::all_grids().front();
  auto blocks = torch::zeros({12, 12}, torch::kFloat64);
  for (int part = 0; part < 3; ++part) {
    blocks.narrow(0, 4 * part, 4).narrow(1, 4 * part, 4).fill_(1);
  }
  auto matrix = DistributedMatrix::zeros(spectral_layout(12, grid), torch::kFloat64);
  matrix.local().copy_(test::local_part(blocks, matrix.layout()));
  EXPECT_EQ(spectral_embedding(matrix, RowPartition(12, world().size()), 2).components, 3);
}

TEST(SpectralEmbedding, LeavesTheAffinityToBeDrawn) {
  const auto grid = test::all_grids().back();
  const auto random = test::random_matrix(30, 30, 5).abs();
  auto affinity = random + random.t();
  affinity.select(0, 4).zero_();  // a sample without affinity
  affinity.select(1, 4).zero_();
  affinity.diagonal().fill_(1);
  auto matrix = DistributedMatrix::zeros(spectral_layout(30, grid), torch::kFloat64);
  matrix.local().copy_(test::local_part(affinity, matrix.layout()));
  spectral_embedding(matrix, RowPartition(30, world().size()), 2);
  EXPECT_TRUE(matrix.local().allclose(test::local_part(affinity, matrix.layout()), 1e-14, 0));
}

}  // namespace
}  // namespace eigenscale
