#include <vector>

#include "data/test_files.h"
#include "eigenscale/data/labels.h"
#include "eigenscale/data/samples.h"

namespace eigenscale::test {
namespace {

// What is known of a set that everybody has the same copy of; each has equally large classes.
struct KnownSet {
  std::int64_t count;
  std::vector<std::int64_t> shape;
  std::int64_t classes;
  double smallest;
  double largest;
};

void expect_set(const std::filesystem::path& data, const std::filesystem::path& labels,
                const KnownSet& known) {
  if (!std::filesystem::exists(data)) {
    GTEST_SKIP() << data << " is not here";
  }
  const Samples samples = load_samples(world(), data.string(), torch::kFloat32);
  ASSERT_EQ(samples.partition.rows(), known.count);
  EXPECT_EQ(samples.shape, known.shape);
  EXPECT_EQ(all_reduce(world(), samples.rows.min().item<double>(), ReduceOp::kMin), known.smallest);
  EXPECT_EQ(all_reduce(world(), samples.rows.max().item<double>(), ReduceOp::kMax), known.largest);
  const auto own = load_labels(world(), labels.string(), samples.partition);
  const auto counts = torch::bincount(own, {}, known.classes);
  world().all_reduce(counts);
  EXPECT_TRUE(torch::equal(
      counts, torch::full({known.classes}, known.count / known.classes, torch::kInt64)));
}

TEST(RealData, Orl) {
  expect_set(data_directory() / "orl.npy", data_directory() / "orl-labels.npy",
             {400, {1024}, 40, 2, 235});
}

TEST(RealData, Coil20) {
  expect_set(data_directory() / "coil20.npy", data_directory() / "coil20-labels.npy",
             {1440, {1024}, 20, 0, 1});
}

TEST(RealData, FashionMnist) {
  const std::filesystem::path directory = "/usr/share/datasets/fashion-mnist";
  expect_set(directory / "t10k-images-idx3-ubyte.gz", directory / "t10k-labels-idx1-ubyte.gz",
             {10000, {28, 28}, 10, 0, 255});
  expect_set(directory / "train-images-idx3-ubyte.gz", directory / "train-labels-idx1-ubyte.gz",
             {60000, {28, 28}, 10, 0, 255});
}

}  // namespace
}  // namespace eigenscale::test
