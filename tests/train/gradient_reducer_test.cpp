#include "eigenscale/train/gradient_reducer.h"

#include <array>

#include "eigenscale/core/row_partition.h"
#include "eigenscale/nn/autoencoder.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

AutoencoderSpecification small() {
  AutoencoderSpecification specification;
  specification.kind = EncoderKind::kConvolution;
  specification.channels = {2, 3};
  specification.kernels = {3, 3};
  specification.image_shape = {1, 8, 6};
  specification.features = 48;
  return specification;
}

double backward(Autoencoder& network, const torch::Tensor& rows) {
  const auto error = network.decode(network.encode(rows)) - rows;
  error.backward(error.detach());
  return 0.5 * error.square().sum().item<double>();
}

// 5 rows: ranks of four own 2, 2, 1, 0, so one of them never runs a backward pass.
void compare_with_one_rank(torch::ScalarType type, double tolerance) {
  torch::manual_seed(11);
  const auto rows = torch::rand({5, 48}, type);
  Autoencoder whole(small(), type, 1);
  const double loss = backward(whole, rows);

  Autoencoder shared(small(), type, 1);
  const auto range = RowPartition(5, test::world().size()).range(test::world().rank());
  std::array<double, 2> scalars = {0, static_cast<double>(range.size())};
  if (range.size() > 0) {
    scalars[0] = backward(shared, rows.narrow(0, range.begin, range.size()));
  }
  GradientReducer reducer(test::world(), shared.parameters());
  reducer.reduce(scalars);

  EXPECT_NEAR(scalars[0], loss, tolerance * loss);
  EXPECT_EQ(scalars[1], 5);
  for (std::size_t i = 0; i < whole.parameters().size(); ++i) {
    const auto expected = whole.parameters()[i].grad();
    const auto actual = shared.parameters()[i].grad();
    EXPECT_LE((actual - expected).abs().max().item<double>(),
              tolerance * (1 + expected.abs().max().item<double>()));
  }
}

// Sums of some thousand terms in another order: about 1e3 roundings at worst.
TEST(GradientReducerTest, EqualsOneRankInDouble) { compare_with_one_rank(torch::kFloat64, 1e-12); }
TEST(GradientReducerTest, EqualsOneRankInFloat) { compare_with_one_rank(torch::kFloat32, 1e-4); }

TEST(GradientReducerTest, WorksWithoutScalarsAndAgain) {
  const auto parameter = torch::zeros({3}).requires_grad_();
  GradientReducer reducer(test::world(), {parameter});
  for (int round = 1; round <= 2; ++round) {
    auto target = parameter;
    target.mutable_grad() = torch::full({3}, static_cast<float>(round));
    reducer.reduce();
    EXPECT_EQ(parameter.grad()[2].item<float>(), static_cast<float>(round * test::world().size()));
  }
}

TEST(GradientReducerTest, ScalarsKeepTheirDigitsBesideFloats) {
  const auto parameter = torch::zeros({3}).requires_grad_();
  GradientReducer reducer(test::world(), {parameter});
  std::array<double, 1> scalars = {1 + 1e-12};
  reducer.reduce(scalars);
  EXPECT_NEAR(scalars[0], test::world().size() * (1 + 1e-12), 1e-15 * test::world().size());
}

}  // namespace
}  // namespace eigenscale
