#include "eigenscale/train/pretraining.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/nn/safetensors.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

AutoencoderSpecification convolutional(std::vector<std::int64_t> channels,
                                       std::vector<std::int64_t> kernels, std::int64_t size) {
  AutoencoderSpecification specification;
  specification.kind = EncoderKind::kConvolution;
  specification.channels = std::move(channels);
  specification.kernels = std::move(kernels);
  specification.image_shape = {1, size, size};
  specification.features = size * size;
  return specification;
}

torch::Tensor synthetic_rows(std::int64_t rows, std::int64_t features) {
  torch::manual_seed(5);
  return torch::rand({rows, features}, torch::kFloat64);
}

torch::Tensor own(const torch::Tensor& rows) {
  const auto range = RowPartition(rows.size(0), test::world().size()).range(test::world().rank());
  return rows.narrow(0, range.begin, range.size());
}

std::vector<double> losses(const Communicator& communicator, const torch::Tensor& rows,
                           std::int64_t chunk_rows) {
  Autoencoder network(convolutional({3, 2}, {3, 5}, 10), torch::kFloat64, 1);
  PretrainingOptions options;
  options.max_epochs = 50;
  options.chunk_rows = chunk_rows;
  std::vector<double> result;
  pretrain(communicator, network, rows, options, [&](const EpochReport& report) {
    result.push_back(report.loss);
    return true;
  });
  return result;
}

TEST(PretrainingTest, DependsNeitherOnRanksNorOnChunks) {
  const auto rows = synthetic_rows(9, 100);
  // Every rank alone with all rows is the run on one rank.
  const auto alone = test::world().split(test::world().rank(), 0);
  const auto expected = losses(*alone, rows, 2048);
  ASSERT_EQ(expected.size(), 50);
  EXPECT_LT(expected.back(), 0.9 * expected.front());
  for (const std::int64_t chunk_rows : {2048, 2}) {
    const auto actual = losses(test::world(), own(rows), chunk_rows);
    ASSERT_EQ(actual.size(), 50);
    for (std::size_t i = 0; i < actual.size(); ++i) {
      // Rounding of the sums, 1e-16, grown by 50 steps of Adam.
      EXPECT_NEAR(actual[i], expected[i], 1e-10 * expected[i]) << "epoch " << i + 1;
    }
  }
}

struct Interruption {};

/// Pre-training that is interrupted in some of its epochs, each time behind a checkpoint, and goes
/// on; the epochs it reports are those that a log would keep.
PretrainingResult pretrain_in_parts(Autoencoder& network, const torch::Tensor& rows,
                                    PretrainingOptions options,
                                    const std::vector<std::size_t>& interruptions,
                                    std::vector<EpochReport>& reports) {
  for (const std::size_t epoch : interruptions) {
    Autoencoder lost(network.specification(), network.precision(), options.seed);
    EXPECT_THROW(pretrain(test::world(), lost, rows, options,
                          [&](const EpochReport& report) -> bool {
                            if (reports.size() == epoch) {
                              throw Interruption();
                            }
                            reports.push_back(report);
                            return true;
                          }),
                 Interruption);
    options.checkpoints.resume = true;
    EXPECT_EQ(pretraining_epochs_done(test::world(), options.checkpoints.directory),
              static_cast<std::int64_t>(reports.size()));
  }
  return pretrain(test::world(), network, rows, options, [&](const EpochReport& report) {
    reports.push_back(report);
    return true;
  });
}

void goes_on_to_the_same_weights(PretrainingOptions options,
                                 const std::vector<std::size_t>& interruptions) {
  const test::SharedDirectory folder;
  const auto rows = own(synthetic_rows(23, 100));
  const auto specification = convolutional({3, 2}, {3, 5}, 10);
  Autoencoder through(specification, torch::kFloat64, options.seed);
  std::vector<EpochReport> expected;
  const auto result =
      pretrain(test::world(), through, rows, options, [&](const EpochReport& report) {
        expected.push_back(report);
        return true;
      });
  options.checkpoints.directory = folder.path();
  options.checkpoints.interval = 0;
  Autoencoder parts(specification, torch::kFloat64, options.seed);
  std::vector<EpochReport> reports;
  const auto last = pretrain_in_parts(parts, rows, options, interruptions, reports);
  EXPECT_EQ(last.stopped_by, result.stopped_by);
  EXPECT_EQ(last.last.initialization, result.last.initialization);
  ASSERT_EQ(reports.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(reports[i].loss, expected[i].loss) << "epoch " << i;
  }
  for (std::size_t i = 0; i < through.parameters().size(); ++i) {
    EXPECT_TRUE(through.parameters()[i].equal(parts.parameters()[i]));
  }
}

TEST(PretrainingTest, InterruptedInitializationsGoOnToTheSameWeights) {
  for (const std::int64_t batch : {0, 8}) {
    PretrainingOptions options;
    options.batch_size = batch;
    options.max_epochs = 60;
    options.rate_falls = true;
    options.initializations = 3;
    options.trial_steps = batch == 0 ? 10 : 30;  // ten passes
    // In the first trial, at the end of the second, in the third, and when the leader goes on.
    goes_on_to_the_same_weights(options, {4, 20, 25, 33});
  }
}

TEST(PretrainingTest, RepeatsBitForBit) {
  const auto rows = synthetic_rows(7, 100);
  EXPECT_EQ(losses(test::world(), own(rows), 2048), losses(test::world(), own(rows), 2048));
}

TEST(PretrainingTest, InitialisationWithTheSmallestLossGoesOnAlone) {
  const auto rows = own(synthetic_rows(9, 100));
  const auto specification = convolutional({3, 2}, {3, 5}, 10);
  PretrainingOptions options;
  options.max_epochs = 12;
  options.initializations = 3;
  options.trial_steps = 5;
  options.seed = 7;
  Autoencoder network(specification, torch::kFloat64, 7);
  std::vector<double> after_trial(3);
  std::vector<std::int64_t> epochs(3);
  const auto result =
      pretrain(test::world(), network, rows, options, [&](const EpochReport& report) {
        EXPECT_EQ(report.epoch, ++epochs[report.initialization]);
        if (report.epoch == 5) {
          after_trial[report.initialization] = report.loss;
        }
        return true;
      });
  const auto winner = std::ranges::min_element(after_trial) - after_trial.begin();
  EXPECT_EQ(result.last.initialization, winner);
  std::vector<std::int64_t> expected(3, 5);
  expected[winner] = 12;
  EXPECT_EQ(epochs, expected);

  // The competition leaves no trace in the winner.
  Autoencoder lone(specification, torch::kFloat64, 7, winner);
  options.initializations = 1;
  pretrain(test::world(), lone, rows, options);
  for (std::size_t i = 0; i < lone.parameters().size(); ++i) {
    EXPECT_TRUE(lone.parameters()[i].equal(network.parameters()[i]));
  }
}

PretrainingOptions by_batches(std::int64_t batch, std::int64_t epochs) {
  PretrainingOptions options;
  options.batch_size = batch;
  options.max_epochs = epochs;
  options.learning_rate = 2e-3;
  options.seed = 3;
  return options;
}

/// Squares of one of nine grey levels at one of four places, and a little noise.
torch::Tensor squares(std::int64_t count) {
  torch::manual_seed(8);
  auto images = 0.02 * torch::rand({count, 10, 10}, torch::kFloat64);
  for (std::int64_t i = 0; i < count; ++i) {
    images[i]
        .narrow(0, 1 + 4 * (i % 2), 4)
        .narrow(1, 1 + 4 * (i / 2 % 2), 4)
        .add_(0.1 * static_cast<double>(1 + i % 9));
  }
  return images.flatten(1);
}

// 43 samples in batches of 8: the last one of a pass has 3, and on four ranks one has none.
TEST(PretrainingTest, BatchesDependNotOnRanksAndRepeatBitForBit) {
  const auto rows = squares(43);
  const auto alone = test::world().split(test::world().rank(), 0);
  const auto options = by_batches(8, 12);
  const auto train = [&](const Communicator& communicator, const torch::Tensor& part) {
    Autoencoder network(convolutional({3, 2}, {3, 5}, 10), torch::kFloat64, 1);
    std::vector<double> result;
    pretrain(communicator, network, part, options, [&](const EpochReport& report) {
      result.push_back(report.rmse);
      return true;
    });
    return std::pair(result, named_parameters(network));
  };
  const auto [expected, expected_weights] = train(*alone, rows);
  ASSERT_EQ(expected.size(), 12U);
  EXPECT_LT(expected.back(), 0.7 * expected.front());
  const auto [actual, weights] = train(test::world(), own(rows));
  for (std::size_t i = 0; i < actual.size(); ++i) {
    // Rounding of the sums, 1e-16, grown by 72 steps of Adam.
    EXPECT_NEAR(actual[i], expected[i], 1e-10 * expected[i]) << "pass " << i + 1;
  }
  const auto [repeated, repeated_weights] = train(test::world(), own(rows));
  EXPECT_EQ(repeated, actual);
  for (const auto& [name, weight] : weights) {
    EXPECT_TRUE(torch::equal(weight, repeated_weights.at(name))) << name;
  }
}

// A batch of all samples is the full batch, in pieces or not.
TEST(PretrainingTest, ABatchOfAllIsTheFullBatch) {
  const auto rows = own(squares(24));
  std::vector<double> losses_of[2];
  for (const int batched : {0, 1}) {
    auto options = by_batches(batched == 1 ? 24 : 0, 10);
    options.chunk_rows = batched == 1 ? 24 : 5;
    Autoencoder network(convolutional({3, 2}, {3, 5}, 10), torch::kFloat64, 1);
    pretrain(test::world(), network, rows, options, [&](const EpochReport& report) {
      // Half the squares of 24 samples of 100 values.
      EXPECT_NEAR(report.loss, 1200 * report.rmse * report.rmse, 1e-12 * report.loss);
      losses_of[batched].push_back(report.loss);
      return true;
    });
  }
  ASSERT_EQ(losses_of[1].size(), 10U);
  for (std::size_t i = 0; i < 10; ++i) {
    // Rounding of the sums, 1e-16, grown by ten steps of Adam.
    EXPECT_NEAR(losses_of[1][i], losses_of[0][i], 1e-10 * losses_of[0][i]);
  }
}

TEST(PretrainingTest, StopsForEachReason) {
  const auto rows = own(squares(40));
  const auto run = [&](const PretrainingOptions& options, std::int64_t request = 0) {
    Autoencoder network(convolutional({2}, {3}, 10), torch::kFloat64, 1);
    return pretrain(test::world(), network, rows, options,
                    [&](const EpochReport& report) { return report.epoch != request; });
  };
  auto options = by_batches(10, 8);
  EXPECT_EQ(run(options).stopped_by, "epochs");
  EXPECT_EQ(run(options).last.epoch, 8);
  EXPECT_EQ(run(options, 5).stopped_by, "request");
  EXPECT_EQ(run(options, 5).last.epoch, 5);
  options.target_rmse = 10;
  EXPECT_EQ(run(options).stopped_by, "target RMSE");
  options.target_rmse = 0;
  options.steps = 18;  // of 4 a pass: five passes
  EXPECT_EQ(run(options).stopped_by, "steps");
  EXPECT_EQ(run(options).last.epoch, 5);
  options.steps = 1;
  EXPECT_EQ(run(options).last.epoch, 1);
}

TEST(PretrainingTest, NothingToTrainWithoutParameters) {
  AutoencoderSpecification specification;
  specification.features = 100;
  Autoencoder network(specification, torch::kFloat64, 1);
  const auto rows = own(synthetic_rows(6, 100));
  EXPECT_EQ(pretrain(test::world(), network, rows, {}).stopped_by, "no parameters");
  EXPECT_EQ(reconstruction_rmse(test::world(), network, rows), 0);
}

TEST(PretrainingTest, LossThatIsNotFiniteEndsAllRanks) {
  auto rows = synthetic_rows(6, 100);
  rows[0][0] = std::numeric_limits<double>::quiet_NaN();  // only rank 0 owns it
  Autoencoder network(convolutional({2}, {3}, 10), torch::kFloat64, 1);
  try {
    pretrain(test::world(), network, own(rows), by_batches(0, 1));
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kNumerical);
    EXPECT_TRUE(error.agreed());
  }
}

// Little-endian C-order NPY files behind a header of 128 bytes, which those of the test data are.
template <typename T>
torch::Tensor read_rows(const std::filesystem::path& path, torch::ScalarType type,
                        std::int64_t rows) {
  auto tensor = torch::empty({rows, 1024}, type);
  std::ifstream file(path, std::ios::binary);
  file.seekg(128);
  file.read(reinterpret_cast<char*>(tensor.data_ptr<T>()),
            static_cast<std::streamsize>(tensor.nbytes()));
  EXPECT_TRUE(file) << path;
  return tensor.to(torch::kFloat32);
}

double authors_rmse(const AutoencoderSpecification& specification, const torch::Tensor& rows,
                    const std::filesystem::path& weights) {
  Autoencoder network(specification, torch::kFloat32, 1);
  load_parameters(network, read_safetensors(weights), weights);
  return reconstruction_rmse(test::world(), network, own(rows));
}

TEST(PretrainingTest, AuthorsWeightsReconstructOrl) {
  const auto data = test::data_directory();
  if (data.empty()) {
    GTEST_SKIP() << "no real data";
  }
  const auto rows = read_rows<std::uint8_t>(data / "orl.npy", torch::kUInt8, 400);
  // 18.2 grey levels with the right padding and order of layers; wrong ones give far more.
  EXPECT_NEAR(authors_rmse(convolutional({3, 3, 5}, {3, 3, 3}, 32), rows,
                           data / "orl-pretrained.safetensors"),
              18.2, 0.05);
}

TEST(PretrainingTest, AuthorsWeightsReconstructCoil20) {
  const auto data = test::data_directory();
  if (data.empty()) {
    GTEST_SKIP() << "no real data";
  }
  const auto rows = read_rows<float>(data / "coil20.npy", torch::kFloat32, 1440);
  // The range own pre-training reaches on these data.
  EXPECT_LE(
      authors_rmse(convolutional({15}, {3}, 32), rows, data / "coil20-pretrained.safetensors"),
      0.02);
}

}  // namespace
}  // namespace eigenscale
