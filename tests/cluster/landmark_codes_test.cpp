#include "eigenscale/cluster/landmark_codes.h"

#include "cluster_test_support.h"
#include "eigenscale/cluster/affinity.h"
#include "eigenscale/cluster/landmark_embedding.h"
#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/pipeline.h"
#include "eigenscale/cluster/self_expression.h"

namespace eigenscale {
namespace {

using test::world;

std::shared_ptr<const ProcessGrid> squarest_grid() {
  const auto [rows, columns] = ProcessGrid::squarest(world().size());
  return std::make_shared<const ProcessGrid>(world(), rows, columns);
}

torch::Tensor own_columns(const torch::Tensor& all) { return test::own(all).t().contiguous(); }

torch::Tensor gathered(const torch::Tensor& own, std::int64_t rows) {
  auto all = torch::empty({rows, own.size(1)}, own.options());
  world().all_gather(all, own.contiguous(), RowPartition(rows, world().size()).counts());
  return all;
}

/// Against the same layer on the whole problem, and the same Adam, on every rank.
void run_case(std::int64_t samples, std::int64_t count, CoefficientNorm norm) {
  SCOPED_TRACE(testing::Message() << samples << " samples on " << count << " landmarks");
  constexpr std::int64_t kLatent = 7;
  const bool l1 = norm == CoefficientNorm::kL1;
  const auto landmarks = draw_rows(samples, count, 3, "landmarks");
  const auto index = torch::tensor(landmarks, torch::kInt64);
  const RowPartition partition(samples, world().size());
  LandmarkCodes layer(world(), partition, landmarks, torch::kFloat64,
                      {.norm = norm, .weight_coefficient = 0.3, .initial = 0.01, .adam = {}});
  auto whole = 0.1 * test::random_matrix(samples, count, 31);
  const auto clear = [&] {
    whole.index_put_({index, torch::arange(count)}, torch::scalar_tensor(0, torch::kFloat64));
  };
  if (l1) {
    clear();
  }
  layer.codes().copy_(test::own(whole));
  auto first = torch::zeros_like(whole);
  auto second = torch::zeros_like(whole);
  for (std::int64_t step = 1; step <= 3; ++step) {
    const auto latent = test::random_matrix(samples, kLatent, 40 + step);
    const auto gradient = test::random_matrix(samples, kLatent, 50 + step);
    const auto chosen = latent.index_select(0, index);
    // A product of length N in another order of summation: N eps times the terms' size.
    const double bound = static_cast<double>(samples) * 1e-15 * 10;
    EXPECT_TRUE(layer.reconstruct(own_columns(latent))
                    .allclose(own_columns(whole.matmul(chosen)), 0, bound));
    const double penalty =
        l1 ? whole.abs().sum().item<double>() : whole.square().sum().item<double>();
    const auto back = layer.backward_and_update(own_columns(gradient), own_columns(latent));
    auto expected = torch::zeros_like(latent);
    expected.index_copy_(0, index, whole.t().matmul(gradient));
    EXPECT_TRUE(back.allclose(own_columns(expected), 0, bound));
    EXPECT_NEAR(all_reduce(world(), layer.penalty()), penalty, 1e-12 * penalty + 1e-300);
    auto derivative = gradient.matmul(chosen.t());
    derivative += l1 ? 0.3 * whole.sign() : 2 * 0.3 * whole;
    adam_update(whole, derivative, first, second, step, {});
    if (l1) {
      clear();
    }
  }
  // As in SelfExpression's test: the smallest gradients are 1e-6 of the typical, times 1e-3.
  EXPECT_TRUE(layer.codes().allclose(test::own(whole), 0, 1e-10));
}

TEST(LandmarkCodes, EqualTheDenseLayer) {
  for (const auto& [samples, count] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {3, 2}, {8, 1}, {29, 10}, {601, 40}}) {
    run_case(samples, count, CoefficientNorm::kL2);
    run_case(samples, count, CoefficientNorm::kL1);
  }
}

TEST(LandmarkCodes, OnAllSamplesAreTheFullCoefficients) {
  constexpr std::int64_t kSamples = 37;
  const RowPartition partition(kSamples, world().size());
  const auto grid = std::make_shared<const ProcessGrid>(world(), world().size(), 1);
  LandmarkCodes codes(world(), partition, draw_rows(kSamples, kSamples, 1, "landmarks"),
                      torch::kFloat64, {});
  SelfExpression full(grid, partition, torch::kFloat64, {});
  const auto latent = own_columns(test::random_matrix(kSamples, 5, 7));
  for (int step = 0; step < 4; ++step) {
    const auto gradient = codes.reconstruct(latent) - latent;
    codes.backward_and_update(gradient, latent);
    full.backward_and_update(full.reconstruct(latent) - latent, latent);
  }
  // Sums in another order, as above.
  EXPECT_TRUE(codes.codes().allclose(full.coefficients().local(), 0, 1e-10));
}

/// The embedding of a whole B by a dense singular value decomposition.
torch::Tensor dense_embedding(torch::Tensor affinity, const torch::Tensor& landmarks,
                              std::int64_t clusters) {
  affinity = affinity.clone();
  affinity.index_put_({landmarks, torch::arange(landmarks.numel())},
                      torch::scalar_tensor(0, torch::kFloat64));
  const auto scaled = affinity.sum(1, true).rsqrt() * affinity * affinity.sum(0).rsqrt();
  return std::get<0>(torch::linalg_svd(scaled, false, c10::nullopt)).narrow(1, 0, clusters);
}

/// Columns are the same but for their signs.
void expect_same_columns(const torch::Tensor& found, const torch::Tensor& expected, double bound) {
  const auto signs = (found * expected).sum(0).sign();
  EXPECT_TRUE(found.allclose(expected * signs, 0, bound)) << (found - expected * signs).abs().max();
}

TEST(LandmarkEmbedding, IsThatOfTheBipartiteAffinity) {
  constexpr std::int64_t kSamples = 2500;  // several pieces on one rank
  constexpr std::int64_t kCount = 23;
  const auto landmarks = draw_rows(kSamples, kCount, 5, "landmarks");
  // Three groups that overlap, so that the leading singular values stand apart.
  const auto group = torch::arange(kSamples).remainder(3);
  const auto index = torch::tensor(landmarks, torch::kInt64);
  auto affinity = test::random_matrix(kSamples, kCount, 9).abs();
  affinity += 3.0 * (group.unsqueeze(1) == group.index_select(0, index)).to(torch::kFloat64);
  affinity += (group.unsqueeze(1) == 0).to(torch::kFloat64) * (group.index_select(0, index) == 1);
  const RowPartition partition(kSamples, world().size());
  const auto mine = test::own(affinity);
  const auto embedding = landmark_embedding(
      [&](RowRange range) { return mine.narrow(0, range.begin, range.size()).clone(); }, landmarks,
      partition, squarest_grid(), 3);
  EXPECT_EQ(embedding.isolated, 0);
  EXPECT_EQ(embedding.components, 1);
  EXPECT_NEAR(embedding.eigenvalues[0].item<double>(), 1, 1e-12);
  const auto rows = gathered(embedding.rows, kSamples);
  EXPECT_TRUE(rows.t().matmul(rows).allclose(torch::eye(3, torch::kFloat64), 0, 1e-11));
  // The square's eigenvectors: eps of the matrix over the gap of the squares, some tenths here.
  expect_same_columns(rows, dense_embedding(affinity, index, 3), 1e-11);
}

TEST(LandmarkEmbedding, OfAllSamplesTakesNoNegativeEigenvalue) {
  // Two groups, one of which is nearly bipartite: its eigenvalue close to -1 is among the largest
  // by magnitude and must not be taken.
  constexpr std::int64_t kSamples = 26;
  auto affinity = 0.02 * test::random_matrix(kSamples, kSamples, 11).abs();
  affinity = affinity + affinity.t();
  affinity.narrow(0, 0, 6).narrow(1, 6, 6).add_(1);
  affinity.narrow(0, 6, 6).narrow(1, 0, 6).add_(1);
  affinity.narrow(0, 12, 14).narrow(1, 12, 14).add_(1);
  affinity.fill_diagonal_(0);
  const auto grid = squarest_grid();
  const RowPartition partition(kSamples, world().size());
  const auto mine = test::own(affinity);
  const auto found = landmark_embedding(
      [&](RowRange range) { return mine.narrow(0, range.begin, range.size()).clone(); },
      draw_rows(kSamples, kSamples, 1, "landmarks"), partition, grid, 3);
  auto matrix = DistributedMatrix::zeros(spectral_layout(kSamples, grid), torch::kFloat64);
  matrix.local().copy_(test::local_part(affinity, matrix.layout()));
  const auto expected = spectral_embedding(matrix, partition, 3);
  expect_same_columns(gathered(found.rows, kSamples), gathered(expected.rows, kSamples), 1e-11);
  EXPECT_TRUE(
      found.eigenvalues.narrow(0, 0, 3).allclose(expected.eigenvalues.narrow(0, 0, 3), 0, 1e-11));
}

ClusteringEvents silent() {
  return {.phase = [](const std::string&) {},
          .epoch = [](const EpochReport&) { return true; },
          .step = [](const FineTuningStep&) { return true; },
          .pretrained = [](Autoencoder&) {}};
}

torch::Tensor labels_by(const torch::Tensor& all, std::int64_t clusters, std::int64_t landmarks) {
  ClusteringOptions options;
  options.clusters = clusters;
  options.settings = default_settings(all.size(0), clusters, landmarks);
  options.settings.subspace_dim = 2;
  options.settings.threshold = 0.5;
  options.autoencoder.features = all.size(1);
  options.precision = torch::kFloat64;
  options.ablation = false;
  options.landmarks = landmarks;
  options.grid_rows = world().size();
  const RowPartition partition(all.size(0), world().size());
  const Samples samples{partition, test::own(all), {all.size(1)}};
  const auto result = cluster_samples(world(), samples, std::nullopt, options, silent());
  EXPECT_TRUE(result.embedding.isfinite().all().item<bool>());
  return gathered(result.labels.unsqueeze(1), all.size(0)).squeeze(1);
}

TEST(CodesOnLandmarks, LabelRowsThatAreNoLandmarks) {
  const auto data = test::orthogonal_subspaces(5, 60);
  const auto found = labels_by(data.rows, 5, 60);
  EXPECT_EQ(clustering_metrics(confusion_matrix(world(), test::own(found), test::own(data.labels)))
                .accuracy,
            1.0);
}

TEST(CodesOnLandmarks, OfAllSamplesGiveTheLabelsOfTheFullCoefficients) {
  // Three planes in five dimensions, which meet: mistakes are made, and must be the same ones.
  constexpr std::int64_t kSamples = 120;
  const auto bases = test::random_matrix(15, 2, 17).view({3, 5, 2});
  const auto group = torch::arange(kSamples).remainder(3);
  const auto coordinates = test::random_matrix(kSamples, 2, 19).unsqueeze(2);
  const auto rows = bases.index_select(0, group).bmm(coordinates).squeeze(2) +
                    0.05 * test::random_matrix(kSamples, 5, 23);
  EXPECT_TRUE(labels_by(rows, 3, kSamples).equal(labels_by(rows, 3, 0)));
}

}  // namespace
}  // namespace eigenscale
