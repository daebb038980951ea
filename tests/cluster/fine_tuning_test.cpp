#include "eigenscale/cluster/fine_tuning.h"

#include <map>

#include "cluster_test_support.h"
#include "eigenscale/cluster/self_expression.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/data/samples.h"
#include "eigenscale/nn/safetensors.h"

namespace eigenscale {
namespace {

using test::world;

AutoencoderSpecification specification_of(const ClusteringSettings& settings) {
  AutoencoderSpecification specification;
  specification.kind = EncoderKind::kConvolution;
  specification.features = 1024;
  specification.channels = settings.channels;
  specification.kernels = settings.kernels;
  specification.image_shape = {1, 32, 32};
  return specification;
}

std::vector<FineTuningStep> train(const Communicator& communicator,
                                  std::shared_ptr<const ProcessGrid> grid, Autoencoder& autoencoder,
                                  const torch::Tensor& own_columns, std::int64_t samples,
                                  ClusteringSettings settings, std::int64_t steps) {
  settings.finetune_steps = steps;
  SelfExpression self_expression(std::move(grid), RowPartition(samples, communicator.size()),
                                 own_columns.scalar_type(),
                                 {.norm = settings.norm,
                                  .weight_coefficient = settings.weight_coefficient,
                                  .initial = settings.initial_coefficient,
                                  .adam = {}});
  std::vector<FineTuningStep> history;
  fine_tune(communicator, autoencoder, self_expression, own_columns, settings, {}, {},
            [&](const FineTuningStep& step, const FineTuningProgress&) {
              history.push_back(step);
              return true;
            });
  return history;
}

/// Reference values: the loss terms before the update of a step, from the authors' weights.
struct Golden {
  std::int64_t step;
  double reconstruction;
  double self_expression;
  double penalty;  // 0: not known
};

void check_golden(const std::string& name, const ClusteringSettings& settings,
                  const std::vector<Golden>& golden) {
  const auto directory = test::data_directory();
  if (directory.empty()) {
    GTEST_SKIP() << "needs the real test data (EIGENSCALE_TEST_DATA)";
  }
  const auto samples =
      load_samples(world(), (directory / (name + ".npy")).string(), torch::kFloat32, 1.0);
  const auto columns = samples.rows.flatten(1).t().contiguous();
  const auto weights = directory / (name + "-pretrained.safetensors");
  // On the squarest grid alone: LossesDoNotDependOnTheRanks compares all grids and rank counts.
  const auto& grid = test::all_grids()[test::all_grids().size() / 2];
  Autoencoder autoencoder(specification_of(settings), torch::kFloat32, 1);
  load_parameters(autoencoder, read_safetensors(weights), weights);
  const auto history = train(world(), grid, autoencoder, columns, samples.partition.rows(),
                             settings, golden.back().step);
  for (const auto& expected : golden) {
    SCOPED_TRACE(testing::Message() << name << " step " << expected.step << " on " << grid->rows()
                                    << " x " << grid->columns());
    const auto& step = history[expected.step - 1];
    EXPECT_NEAR(step.reconstruction, expected.reconstruction, 1e-3 * expected.reconstruction);
    EXPECT_NEAR(step.self_expression, expected.self_expression, 1e-3 * expected.self_expression);
    if (expected.penalty > 0) {
      EXPECT_NEAR(step.coefficient_penalty, expected.penalty, 1e-3 * expected.penalty);
    }
  }
}

TEST(GoldenTrace, Coil20) {
  check_golden("coil20", preset("coil20", 20),
               {{1, 280506.3, 47646740.6, 0},
                {10, 90796.4, 7952258.8, 2.105},
                {30, 51572.0, 2322641.5, 6.622}});
}

TEST(GoldenTrace, Orl) {
  auto settings = preset("orl", 40);
  settings.initial_coefficient = 0;  // the authors' start
  check_golden("orl", settings,
               {{1, 3031200512.0, 329973913.6, 0},
                {100, 112509392.0, 3190883.8, 3.062},
                {700, 69984888.0, 559855.0, 20.538}});
}

TEST(FineTuning, LossesDoNotDependOnTheRanks) {
  // Random images; double, 60 steps. Sums in another order differ by 1e-15 at first; the bound
  // leaves six orders for their growth through Adam.
  constexpr std::int64_t kSamples = 37;
  auto settings = preset("orl", 4);
  const auto all = test::random_matrix(kSamples, 1024, 7).abs_();
  const auto alone = world().split(world().rank(), 0);
  const auto single = std::make_shared<const ProcessGrid>(*alone, 1, 1);
  Autoencoder reference_network(specification_of(settings), torch::kFloat64, 3);
  const auto reference =
      train(*alone, single, reference_network, all.t().contiguous(), kSamples, settings, 60);
  EXPECT_LT(reference.back().loss, reference.front().loss);
  const auto range = RowPartition(kSamples, world().size()).range(world().rank());
  for (const auto& grid : test::all_grids()) {
    Autoencoder network(specification_of(settings), torch::kFloat64, 3);
    const auto history =
        train(world(), grid, network, all.narrow(0, range.begin, range.size()).t().contiguous(),
              kSamples, settings, 60);
    for (std::size_t i = 0; i < history.size(); ++i) {
      EXPECT_NEAR(history[i].loss, reference[i].loss, 1e-9 * reference[i].loss);
    }
  }
}

TEST(FineTuning, ALossThatIsNotFiniteIsAnErrorOnAllRanks) {
  auto settings = preset("orl", 4);
  settings.weight_self_expression = 1e300;
  const auto range = RowPartition(8, world().size()).range(world().rank());
  const auto columns = (1e200 * test::random_matrix(8, 1024, 7))
                           .narrow(0, range.begin, range.size())
                           .t()
                           .contiguous();
  Autoencoder network(specification_of(settings), torch::kFloat64, 3);
  try {
    train(world(), test::all_grids()[0], network, columns, 8, settings, 5);
    FAIL() << "did not throw";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kNumerical);
    EXPECT_THAT(error.what(), testing::HasSubstr("step 1"));
  }
}

}  // namespace
}  // namespace eigenscale
