#include "eigenscale/data/batch_stream.h"

#include <algorithm>
#include <set>

#include "support/mpi_test.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kSamples = 23;

/// Sample i is a 1 x 3 x 2 image of the value i with label i.
LabelledSamples numbered(torch::ScalarType type) {
  const RowPartition partition(kSamples, test::world().size());
  const auto range = partition.range(test::world().rank());
  const auto labels = torch::arange(range.begin, range.end, torch::kInt64);
  const auto rows =
      labels.view({-1, 1, 1, 1}).expand({range.size(), 1, 3, 2}).to(type).contiguous();
  return {partition, rows, labels, {1, 3, 2}, "numbers", "labels"};
}

/// The labels of the whole batch in order, from the parts of all ranks.
std::vector<std::int64_t> gathered(const Batch& batch) {
  const RowPartition partition(batch.global_size, test::world().size());
  EXPECT_EQ(batch.labels.size(0), partition.range(test::world().rank()).size());
  auto all = torch::empty({batch.global_size}, torch::kInt64);
  test::world().all_gather(all, batch.labels, partition.counts());
  return {all.data_ptr<std::int64_t>(), all.data_ptr<std::int64_t>() + all.numel()};
}

std::vector<std::vector<std::int64_t>> epochs(std::int64_t batch_size, int count) {
  const auto samples = numbered(torch::kUInt8);
  BatchStream stream(test::world(), samples, {.batch_size = batch_size});
  std::vector<std::vector<std::int64_t>> result;
  for (int epoch = 0; epoch < count; ++epoch) {
    auto& all = result.emplace_back();
    for (std::int64_t b = 0; b < stream.batches_per_epoch(); ++b) {
      const auto labels = gathered(stream.next());
      all.insert(all.end(), labels.begin(), labels.end());
    }
  }
  return result;
}

TEST(BatchStreamTest, EveryEpochIsAPermutationAndTheyDiffer) {
  const auto result = epochs(5, 3);
  for (const auto& epoch : result) {
    EXPECT_EQ(std::set(epoch.begin(), epoch.end()).size(), static_cast<std::size_t>(kSamples));
    EXPECT_EQ(std::ssize(epoch), kSamples);
    EXPECT_FALSE(std::ranges::is_sorted(epoch));
  }
  EXPECT_NE(result[0], result[1]);
  EXPECT_NE(result[1], result[2]);
}

// The golden order was drawn once, on one rank; the number of ranks and the cut into batches must
// not change it.
TEST(BatchStreamTest, OrderDependsOnSeedAndEpochAlone) {
  const auto whole = epochs(kSamples, 2);
  const std::vector<std::vector<std::int64_t>> golden = {
      {0, 2, 11, 12, 9, 8, 6, 21, 17, 19, 3, 10, 7, 1, 22, 20, 16, 5, 13, 18, 14, 15, 4},
      {14, 22, 17, 9, 21, 4, 5, 8, 3, 2, 19, 6, 13, 11, 16, 12, 7, 18, 0, 1, 10, 20, 15}};
  EXPECT_EQ(whole, golden);
  EXPECT_EQ(epochs(4, 2), whole);
  EXPECT_EQ(epochs(1, 2), whole);
  const auto alone = test::world().split(test::world().rank(), 0);
  LabelledSamples all = numbered(torch::kUInt8);
  all.partition = RowPartition(kSamples, 1);
  all.labels = torch::arange(kSamples, torch::kInt64);
  all.rows = all.labels.view({-1, 1, 1, 1}).expand({kSamples, 1, 3, 2}).to(torch::kUInt8);
  BatchStream stream(*alone, all, {.batch_size = kSamples});
  const auto batch = stream.next();
  const auto* first = batch.labels.data_ptr<std::int64_t>();
  EXPECT_EQ(std::vector<std::int64_t>(first, first + kSamples), whole[0]);
}

TEST(BatchStreamTest, SamplesBelongToTheirLabelsInEveryType) {
  for (const auto type : {torch::kUInt8, torch::kFloat32, torch::kFloat64}) {
    const auto samples = numbered(type);
    BatchStream stream(test::world(), samples,
                       {.batch_size = 6, .type = torch::kFloat64, .scale = 0.5});
    for (int b = 0; b < 6; ++b) {
      const auto batch = stream.next();
      EXPECT_EQ(batch.samples.scalar_type(), torch::kFloat64);
      EXPECT_EQ(batch.samples.sizes(), (std::vector<std::int64_t>{batch.labels.size(0), 1, 3, 2}));
      EXPECT_TRUE(torch::equal(
          batch.samples,
          batch.labels.to(torch::kFloat64).mul(0.5).view({-1, 1, 1, 1}).expand_as(batch.samples)));
    }
  }
}

TEST(BatchStreamTest, SamplesNeedNoLabels) {
  auto samples = numbered(torch::kFloat32);
  const auto labels = samples.labels;
  BatchStream labelled(test::world(), samples, {.batch_size = 6});
  auto bare = samples;
  bare.labels = torch::Tensor();
  BatchStream stream(test::world(), bare, {.batch_size = 6});
  for (int b = 0; b < 6; ++b) {
    const auto batch = stream.next();
    EXPECT_FALSE(batch.labels.defined());
    EXPECT_TRUE(torch::equal(batch.samples, labelled.next().samples));
  }
}

TEST(BatchStreamTest, StartsAnywhere) {
  const auto samples = numbered(torch::kUInt8);
  BatchStream whole(test::world(), samples, {.batch_size = 5});
  std::vector<std::vector<std::int64_t>> batches;
  for (int b = 0; b < 12; ++b) {
    batches.push_back(gathered(whole.next()));
  }
  for (const int first : {0, 3, 5, 9}) {
    BatchStream stream(test::world(), samples, {.batch_size = 5}, first / 5, first % 5);
    EXPECT_EQ(gathered(stream.next()), batches[first]);
    EXPECT_EQ(gathered(stream.next()), batches[first + 1]);
  }
  BatchStream at_the_end(test::world(), samples, {.batch_size = 5}, 0, 5);
  EXPECT_EQ(gathered(at_the_end.next()), batches[5]);
}

TEST(BatchStreamTest, MayBeDroppedWithABatchUnderWay) {
  const auto samples = numbered(torch::kUInt8);
  for (int round = 0; round < 20; ++round) {
    BatchStream stream(test::world(), samples, {.batch_size = 7});
    for (int b = 0; b < round % 3; ++b) {
      stream.next();
    }
  }
}

TEST(AugmentationTest, IsAFunctionOfSeedEpochAndSample) {
  torch::manual_seed(2);
  const auto images = torch::rand({40, 2, 6, 5});
  std::vector<std::int64_t> indices(40);
  for (std::int64_t i = 0; i < 40; ++i) {
    indices[i] = 100 + i;
  }
  const AugmentationOptions options{.crop = 2, .flip = true};
  auto whole = images.clone();
  augment(whole, indices, options, 7, 3);
  auto part = images.narrow(0, 10, 5).clone();
  augment(part, {indices.begin() + 10, indices.begin() + 15}, options, 7, 3);
  EXPECT_TRUE(torch::equal(part, whole.narrow(0, 10, 5)));
  auto other_epoch = images.clone();
  augment(other_epoch, indices, options, 7, 4);
  EXPECT_FALSE(torch::equal(other_epoch, whole));
}

TEST(AugmentationTest, CutsAndMirrorsInAllWays) {
  const auto images =
      torch::arange(1, 7, torch::kFloat32).view({1, 1, 2, 3}).repeat({400, 1, 1, 1});
  std::vector<std::int64_t> indices(400);
  for (std::int64_t i = 0; i < 400; ++i) {
    indices[i] = i;
  }
  auto mirrored = images.clone();
  augment(mirrored, indices, {.crop = 0, .flip = true}, 1, 0);
  const auto is_mirrored = (mirrored.select(3, 0).select(2, 0) == 3).sum().item<std::int64_t>();
  EXPECT_TRUE(torch::equal(mirrored.sum({1, 2, 3}), images.sum({1, 2, 3})));
  // 400 fair draws: five deviations of 10.
  EXPECT_NEAR(static_cast<double>(is_mirrored), 200, 50);
  auto moved = images.clone();
  augment(moved, indices, {.crop = 1, .flip = false}, 1, 0);
  const auto unchanged = (moved == images).flatten(1).all(1).sum().item<std::int64_t>();
  // One of nine places leaves an image as it is: 44, five deviations of 6.3.
  EXPECT_NEAR(static_cast<double>(unchanged), 400.0 / 9, 32);
}

}  // namespace
}  // namespace eigenscale
