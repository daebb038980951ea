#include "eigenscale/nn/feature_curves.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

namespace eigenscale {
namespace {

/// Two features: x + x |x| / 2 by three knots, exactly, and a bent one.
FeatureCurves example() {
  const auto knots = torch::tensor({{-1.0, 0.0, 1.0}, {0.0, 1.0, 4.0}}, torch::kFloat64);
  const auto slopes = torch::tensor({{2.0, 1.0, 2.0}, {3.0, 1.0, 0.5}}, torch::kFloat64);
  const auto values = torch::tensor({{-1.5, 0.0, 1.5}, {-2.0, 0.0, 2.25}}, torch::kFloat64);
  return {knots, values, slopes};
}

TEST(FeatureCurves, AreQuadraticBetweenKnotsAndStraightBeyond) {
  const auto curves = example();
  ASSERT_TRUE(are_feature_curves(curves));
  const auto x = torch::linspace(-1, 1, 41, torch::kFloat64);
  const auto rows = torch::stack({x, x}, 1);
  const auto expected = x + x * x.abs() / 2;
  EXPECT_LT((curves(rows).select(1, 0) - expected).abs().max().item<double>(), 1e-15);
  const auto outside = torch::tensor({{-3.0, -1.0}, {2.5, 6.0}}, torch::kFloat64);
  const auto straight =
      torch::tensor({{-1.5 - 2 * 2, -2.0 - 3}, {1.5 + 1.5 * 2, 2.25 + 2 * 0.5}}, torch::kFloat64);
  EXPECT_LT((curves(outside) - straight).abs().max().item<double>(), 1e-14);
  EXPECT_EQ(curves(rows.to(torch::kFloat32)).scalar_type(), torch::kFloat32);
}

TEST(FeatureCurves, RiseWithoutAJumpOfTheSlope) {
  const auto curves = example();
  constexpr double kStep = 1e-6;
  const auto x = torch::linspace(-2, 5, 7001, torch::kFloat64);
  const auto rows = torch::stack({x, x}, 1);
  const auto slopes = (curves(rows + kStep) - curves(rows - kStep)) / (2 * kStep);
  EXPECT_TRUE((slopes > 0).all().item<bool>());
  // The steepest change of the slope, 2 a unit, on the grid; and rounding over the step.
  EXPECT_LT(slopes.diff(1, 0).abs().max().item<double>(), 2.1e-3 + 1e-8);
}

TEST(FeatureCurves, ANumberDependsOnItselfAlone) {
  const auto curves = example();
  const auto rows = torch::randn({700, 2});
  const auto whole = curves(rows);
  EXPECT_TRUE(curves(rows.narrow(0, 13, 7)).equal(whole.narrow(0, 13, 7)));
  EXPECT_EQ(curves(rows.narrow(0, 0, 0)).size(0), 0);
}

TEST(FeatureCurves, AreRecognised) {
  const auto broken = [](const std::function<void(FeatureCurves&)>& change) {
    auto curves = example();
    for (auto* part : {&curves.knots, &curves.values, &curves.slopes}) {
      *part = part->clone();
    }
    change(curves);
    return !are_feature_curves(curves);
  };
  EXPECT_FALSE(broken([](auto&) {}));
  EXPECT_TRUE(broken([](auto& curves) { curves.knots[1][1] = 0; }));
  EXPECT_TRUE(broken([](auto& curves) { curves.slopes[0][2] = -0.1; }));
  EXPECT_TRUE(broken([](auto& curves) { curves.values[0][2] += 1e-6; }));
  EXPECT_TRUE(
      broken([](auto& curves) { curves.values[0][2] = std::numeric_limits<double>::quiet_NaN(); }));
  EXPECT_TRUE(broken([](auto& curves) { curves.slopes = curves.slopes.narrow(0, 0, 1); }));
  EXPECT_TRUE(broken([](auto& curves) { curves.slopes = torch::Tensor(); }));
  EXPECT_TRUE(broken([](auto& curves) { curves.knots = curves.knots.to(torch::kFloat32); }));
}

}  // namespace
}  // namespace eigenscale
