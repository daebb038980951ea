#include "eigenscale/train/adam.h"

#include <cmath>

#include "support/mpi_test.h"

namespace eigenscale {
namespace {

TEST(AdamTest, OneStepIsTheFormula) {
  const AdamOptions options{.learning_rate = 0.5, .beta1 = 0.8, .beta2 = 0.9, .epsilon = 0.25};
  auto parameter = torch::tensor({1.0, -2.0}, torch::kFloat64);
  const auto gradient = torch::tensor({3.0, 0.0}, torch::kFloat64);
  auto first = torch::tensor({0.5, 0.0}, torch::kFloat64);
  auto second = torch::tensor({2.0, 0.0}, torch::kFloat64);
  adam_update(parameter, gradient, first, second, 3, options);
  const double m = 0.8 * 0.5 + 0.2 * 3;
  const double v = 0.9 * 2 + 0.1 * 9;
  const double rate = 0.5 * std::sqrt(1 - 0.9 * 0.9 * 0.9) / (1 - 0.8 * 0.8 * 0.8);
  EXPECT_NEAR(parameter[0].item<double>(), 1 - rate * m / (std::sqrt(v) + 0.25), 1e-15);
  EXPECT_NEAR(first[0].item<double>(), m, 1e-15);
  EXPECT_NEAR(second[0].item<double>(), v, 1e-15);
  EXPECT_EQ(parameter[1].item<double>(), -2);  // nothing moves without a gradient
}

// A panel of columns of a column-major matrix, a panel of its rows, and both transposed.
TEST(AdamTest, PanelsUpdateAsTheWholeAndTouchNothingElse) {
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    const auto make = [&](std::uint64_t seed) {
      torch::manual_seed(seed);
      return torch::rand({6, 9}, type).t();  // 9 x 6, column-major
    };
    const auto parameter = make(1);
    const auto gradient = make(2);
    const auto first = make(3);
    const auto second = make(4);
    const auto before = parameter.clone();
    auto expected = parameter.contiguous();
    adam_update(expected, gradient.contiguous(), first.contiguous(), second.contiguous(), 4, {});
    const auto panel = [](const torch::Tensor& t) { return t.narrow(1, 1, 3).narrow(0, 2, 5); };
    adam_update(panel(parameter), panel(gradient), panel(first), panel(second), 4, {});
    // Vector and scalar lanes may contract differently: a few roundings.
    const double tolerance = type == torch::kFloat32 ? 1e-6 : 1e-14;
    EXPECT_LE((panel(parameter) - panel(expected)).abs().max().item<double>(), tolerance);
    auto outside = parameter.clone();
    panel(outside).copy_(panel(before));
    EXPECT_TRUE(torch::equal(outside, before));
    // The remaining panels, transposed, complete the whole.
    const auto rest = [](const torch::Tensor& t) { return t.narrow(1, 4, 2).t(); };
    adam_update(rest(parameter), rest(gradient), rest(first), rest(second), 4, {});
    EXPECT_LE((rest(parameter) - rest(expected)).abs().max().item<double>(), tolerance);
  }
}

TEST(AdamTest, OperationsOfADeviceDoTheSameToRounding) {
  for (const auto type : {torch::kFloat32, torch::kFloat64}) {
    torch::manual_seed(5);
    auto parameter = torch::rand({7, 11}, type);
    auto first = torch::zeros({7, 11}, type);
    auto second = torch::zeros({7, 11}, type);
    auto other_parameter = parameter.clone();
    auto other_first = first.clone();
    auto other_second = second.clone();
    for (int step = 1; step <= 5; ++step) {
      const auto gradient = torch::randn({7, 11}, type);
      adam_update(parameter, gradient, first, second, step, {});
      adam_update_by_operations(other_parameter, gradient, other_first, other_second, step, {});
    }
    // Five updates of 1e-3 beside values below 1: a few roundings of each.
    const double tolerance = type == torch::kFloat32 ? 1e-6 : 1e-14;
    EXPECT_LE((parameter - other_parameter).abs().max().item<double>(), tolerance);
    EXPECT_LE((first - other_first).abs().max().item<double>(), tolerance);
    EXPECT_LE((second - other_second).abs().max().item<double>(), tolerance);
  }
}

TEST(AdamTest, RefusesMismatchedPanels) {
  const auto a = torch::zeros({4, 4});
  EXPECT_ANY_THROW(adam_update(a, a.t(), a, a, 1, {}));
  EXPECT_ANY_THROW(adam_update(a, a.to(torch::kFloat64), a, a, 1, {}));
  const auto strided = torch::zeros({4, 8}).slice(1, 0, 8, 2).slice(0, 0, 4, 2);
  EXPECT_ANY_THROW(adam_update(strided, strided, strided, strided, 1, {}));
}

}  // namespace
}  // namespace eigenscale
