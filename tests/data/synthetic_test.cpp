#include "eigenscale/data/synthetic.h"

#include <algorithm>

#include "data/test_files.h"
#include "eigenscale/data/npy_file.h"
#include "eigenscale/data/spectrum.h"

namespace eigenscale::test {
namespace {

SyntheticOptions small_options() {
  SyntheticOptions options;
  options.samples = 203;
  options.ambient_dim = 12;
  options.subspace_dim = 3;
  options.clusters = 4;
  options.seed = 5;
  return options;
}

torch::Tensor rows_of_cluster(const SyntheticRows& data, std::int64_t k) {
  return data.rows.index({data.labels == k}).to(torch::kFloat64);
}

TEST(Synthetic, RowsDependOnTheirIndexAlone) {
  for (const std::string kind : {"subspaces", "nonlinear"}) {
    auto options = small_options();
    options.kind = kind;
    options.noise = 0.1;
    const auto whole = generate_rows(options, {0, options.samples});
    const RowRange own = own_range(options.samples);
    const auto part = generate_rows(options, own);
    EXPECT_TRUE(torch::equal(part.rows, whole.rows.slice(0, own.begin, own.end)));
    EXPECT_TRUE(torch::equal(part.labels, whole.labels.slice(0, own.begin, own.end)));
    // Ranks that made different parts agree on the whole.
    const auto gathered = torch::empty_like(whole.rows);
    world().all_gather(gathered, part.rows, RowPartition(options.samples, world().size()).counts());
    EXPECT_TRUE(torch::equal(gathered, whole.rows));
  }
}

TEST(Synthetic, FilesHoldTheRowsOfEveryRank) {
  const SharedDirectory directory;
  auto options = small_options();
  options.noise = 0.01;
  generate(world(), options, directory.path() / "new" / "set");
  const auto whole = generate_rows(options, {0, options.samples});
  const NpySource data(directory.path() / "new" / "set" / "data.npy");
  const NpySource labels(directory.path() / "new" / "set" / "labels.npy");
  EXPECT_TRUE(torch::equal(data.read_rows({0, data.rows()}), whole.rows));
  EXPECT_TRUE(torch::equal(labels.read_rows({0, labels.rows()}), whole.labels));
  world().barrier();
}

TEST(Synthetic, TellsHowManySamplesAreMade) {
  const SharedDirectory directory;
  auto options = small_options();
  options.ambient_dim = 1 << 20;  // four rows are a piece
  options.clusters = 1;
  options.samples = 13;
  std::vector<std::int64_t> told;
  const auto tell = [&](std::int64_t done) { told.push_back(done); };
  generate(world(), options, directory.path() / "subspaces", tell);
  const auto own = RowPartition(13, world().size()).range(world().rank()).size();
  ASSERT_GE(told.size(), 2U);
  EXPECT_EQ(told.front(), 0);
  EXPECT_EQ(told[1], std::min<std::int64_t>(4, own));
  EXPECT_EQ(told.back(), own);
  EXPECT_TRUE(std::ranges::is_sorted(told));
  told.clear();
  generate_spectrum(world(), {.samples = 13, .ambient_dim = 1 << 20, .seed = 1},
                    directory.path() / "spectrum", tell);
  EXPECT_EQ(told.front(), 0);
  EXPECT_EQ(told.back(), own);
  EXPECT_TRUE(std::ranges::is_sorted(told));
}

TEST(Synthetic, ClustersHaveEqualSizesInShuffledOrder) {
  const auto options = small_options();
  const auto labels = generate_rows(options, {0, options.samples}).labels;
  // 203 = 3 x 51 + 50.
  EXPECT_TRUE(torch::equal(torch::bincount(labels), torch::tensor({51, 51, 51, 50})));
  // Neighbours share a label with probability about 1/4: 50 of 202, standard deviation 6; five.
  const auto same = labels.slice(0, 1).eq(labels.slice(0, 0, -1)).sum().item<int>();
  EXPECT_NEAR(same, 50, 30);
}

TEST(Synthetic, HarmonicSizesAndOutliers) {
  auto options = small_options();
  options.sizes = "harmonic";
  options.outliers = 0.1;
  const auto data = generate_rows(options, {0, options.samples});
  // 20 of 203 are outliers; 183 / (1 + 1/2 + 1/3 + 1/4) = 87.84 times 1, 1/2, 1/3, 1/4, of which
  // the sums 87.84, 131.76, 161.04 are rounded.
  EXPECT_TRUE(torch::equal(torch::bincount(data.labels + 1), torch::tensor({20, 88, 44, 29, 22})));
  const auto outliers = rows_of_cluster(data, -1);
  EXPECT_TRUE(torch::allclose(outliers.norm(2, 1), torch::ones({20}, torch::kFloat64), 1e-6, 0));
  // In every direction: sqrt(20 / 12) = 1.3 each, where a subspace has zeros from the fourth on.
  EXPECT_GT(torch::linalg_svdvals(outliers)[11].item<double>(), 0.1);
  options.kind = "nonlinear";
  const auto bent = rows_of_cluster(generate_rows(options, {0, options.samples}), -1);
  // 240 standard normal numbers: the mean has standard deviation .065, the variance .091; five.
  EXPECT_NEAR(bent.atanh().mean().item<double>(), 0, 0.33);
  EXPECT_NEAR(bent.atanh().square().mean().item<double>(), 1, 0.46);
}

TEST(Synthetic, RelatedSubspacesMeetInTheSharedDirections) {
  auto options = small_options();
  options.related = 2;
  const SyntheticData data(options);
  const auto bases = data.bases({0, options.clusters});
  for (std::int64_t k = 1; k < options.clusters; ++k) {
    const auto cosines = torch::linalg_svdvals(bases[0].t().matmul(bases[k]));
    EXPECT_NEAR(cosines[1].item<double>(), 1, 1e-12);
    EXPECT_LT(cosines[2].item<double>(), 0.999);
  }
}

TEST(Synthetic, BasesAreThoseThatMadeTheSamples) {
  for (const std::string kind : {"subspaces", "nonlinear"}) {
    const SharedDirectory directory;
    auto options = small_options();
    options.kind = kind;
    generate(world(), options, directory.path());
    const NpySource source(directory.path() / "bases.npy");
    EXPECT_EQ(source.scalar_type(), torch::kFloat64);
    const auto bases = source.read_rows({0, 4});
    EXPECT_TRUE(torch::equal(bases, SyntheticData(options).bases({0, 4})));
    const auto data = generate_rows(options, {0, options.samples});
    for (std::int64_t k = 0; k < 4; ++k) {
      EXPECT_TRUE(
          torch::allclose(bases[k].t().matmul(bases[k]), torch::eye(3, torch::kFloat64), 0, 1e-12));
      if (kind == "subspaces") {
        const auto rows = rows_of_cluster(data, k);
        EXPECT_TRUE(torch::allclose(rows.matmul(bases[k]).matmul(bases[k].t()), rows, 0, 1e-6));
      }
    }
    world().barrier();
  }
}

TEST(Synthetic, ClustersAreSubspacesOfTheRightDimension) {
  const auto options = small_options();
  const auto data = generate_rows(options, {0, options.samples});
  // a lies on the unit sphere and U_k has orthonormal columns; entries are rounded to float.
  EXPECT_TRUE(torch::allclose(data.rows.norm(2, 1), torch::ones({options.samples}), 1e-6, 0));
  torch::Tensor previous;
  for (std::int64_t k = 0; k < options.clusters; ++k) {
    const auto rows = rows_of_cluster(data, k);
    const auto values = torch::linalg_svdvals(rows);
    // Rounding to float leaves singular values of the size 2^-24 x sqrt(rows x dimensions).
    EXPECT_LT(values[3].item<double>(), 1e-5);
    // For coefficients uniform on the sphere all d of them are about sqrt(rows / d) = 4.
    EXPECT_GT(values[2].item<double>(), 2.5);
    if (previous.defined()) {
      EXPECT_GT(torch::linalg_svdvals(torch::cat({previous, rows}))[5].item<double>(), 0.1);
    }
    previous = rows;
  }
}

TEST(Synthetic, NoiseHasTheStandardDeviationAskedFor) {
  auto options = small_options();
  options.samples = 5000;
  const auto clean = generate_rows(options, {0, options.samples});
  options.noise = 0.5;
  const auto noisy = generate_rows(options, {0, options.samples});
  const auto noise = (noisy.rows - clean.rows).to(torch::kFloat64) / options.noise;
  // 60000 draws: the mean has standard deviation 60000^-1/2 = .0041, the variance
  // (2 / 60000)^1/2 = .0058; five of each.
  EXPECT_NEAR(noise.mean().item<double>(), 0, 5 * 0.0041);
  EXPECT_NEAR(noise.square().mean().item<double>(), 1, 5 * 0.0058);
}

TEST(Synthetic, NonlinearDataAreSubspacesUnderTanh) {
  auto options = small_options();
  options.kind = "nonlinear";
  const auto data = generate_rows(options, {0, options.samples});
  for (std::int64_t k = 0; k < options.clusters; ++k) {
    const auto rows = rows_of_cluster(data, k);
    EXPECT_LT(rows.abs().max().item<double>(), 1);
    EXPECT_GT(torch::linalg_svdvals(rows)[3].item<double>(), 0.3) << "not linear";
    // Rounding to float, 2^-25 for values near 1, grows by cosh(4)^2 = 750 at most under atanh.
    EXPECT_LT(torch::linalg_svdvals(rows.atanh())[3].item<double>(), 1e-3);
  }
}

TEST(Synthetic, MixingBlocksJoinWithoutSeams) {
  // 300 dimensions are two blocks of rows of W; under atanh the data are still of rank d.
  auto options = small_options();
  options.kind = "nonlinear";
  options.ambient_dim = 300;
  const auto data = generate_rows(options, {0, options.samples});
  EXPECT_LT(torch::linalg_svdvals(rows_of_cluster(data, 0).atanh())[3].item<double>(), 1e-2);
  EXPECT_GT(data.rows.slice(1, 256).abs().mean().item<double>(), 0.3);
}

TEST(Synthetic, SeedsMakeDifferentData) {
  auto options = small_options();
  const auto first = generate_rows(options, {0, 10});
  options.seed = 6;
  const auto second = generate_rows(options, {0, 10});
  EXPECT_GT((first.rows - second.rows).abs().mean().item<double>(), 0.05);
}

TEST(Synthetic, ContradictionsAreOptionErrors) {
  const SharedDirectory directory;
  const auto expect_refused = [&](const std::function<void(SyntheticOptions&)>& change,
                                  const std::string& named) {
    auto options = small_options();
    change(options);
    EXPECT_THAT(
        agreed_error(ExitCode::kOptions, [&] { generate(world(), options, directory.path()); }),
        testing::HasSubstr(named));
  };
  expect_refused([](auto& o) { o.kind = "rings"; }, "rings");
  expect_refused([](auto& o) { o.clusters = 0; }, "clusters");
  expect_refused([](auto& o) { o.samples = 3; }, "samples (3)");
  expect_refused([](auto& o) { o.subspace_dim = 0; }, "subspace-dim");
  expect_refused([](auto& o) { o.subspace_dim = 13; }, "ambient-dim (12)");
  expect_refused([](auto& o) { o.noise = -1; }, "noise");
  expect_refused([](auto& o) { o.outliers = -0.1; }, "outliers");
  expect_refused([](auto& o) { o.outliers = std::nan(""); }, "outliers");
  expect_refused([](auto& o) { o.outliers = 0.999; }, "less 203 outliers");
  expect_refused([](auto& o) { o.sizes = "alike"; }, "'alike'");
  expect_refused([](auto& o) { o.related = 3; }, "related (3)");
  expect_refused([](auto& o) { o.related = -1; }, "related (-1)");
  expect_refused(
      [](auto& o) {
        o.samples = 25;
        o.clusters = 20;
        o.sizes = "harmonic";
      },
      "too few");
  expect_refused([](auto& o) { o.noise = std::nan(""); }, "noise");
  expect_refused(
      [](auto& o) {
        o.ambient_dim = 1 << 20;
        o.subspace_dim = 1 << 10;
      },
      "2^27");
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  world().barrier();
}

TEST(Synthetic, UnwritableDirectoryIsAnOutputError) {
  const SharedDirectory directory;
  put_file(directory.path() / "file", "");
  agreed_error(ExitCode::kOutput,
               [&] { generate(world(), small_options(), directory.path() / "file" / "set"); });
}

}  // namespace
}  // namespace eigenscale::test
