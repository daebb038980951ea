#include "eigenscale/report/plot_axis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

namespace eigenscale {
namespace {

using Limits = std::numeric_limits<double>;

std::vector<std::string> labels(const PlotAxis& axis) {
  std::vector<std::string> result;
  for (const auto& tick : axis.ticks()) {
    result.push_back(tick.label);
  }
  return result;
}

/// Ticks that lie on the axis, differ, and are few.
void expect_drawable(const PlotAxis& axis, const std::vector<double>& values) {
  const auto ticks = axis.ticks();
  EXPECT_GE(ticks.size(), 1U);
  EXPECT_LE(ticks.size(), 16U);
  std::set<std::string> different;
  for (const auto& tick : ticks) {
    EXPECT_GE(tick.pixel, -0.01) << tick.label;
    EXPECT_LE(tick.pixel, 100.01) << tick.label;
    different.insert(tick.label);
  }
  EXPECT_EQ(different.size(), ticks.size());
  for (const double value : values) {
    if (axis.shows(value)) {
      EXPECT_GE(axis.pixel(value), -0.01) << value;
      EXPECT_LE(axis.pixel(value), 100.01) << value;
    }
  }
}

TEST(PlotAxis, TakesAnyValues) {
  const double bit = Limits::epsilon();
  const std::vector<std::vector<double>> cases = {
      {1, 1 + bit},
      {1 - bit, 1, 1 + 2 * bit},
      {1e-9, 1e-9 * (1 + 3 * bit)},
      {-7e200, -7e200 * (1 + bit)},
      {0.1, 0.1 + 1e-12},
      {5, 5, 5},
      {0, 0},
      {3},
      {0.3},
      {-Limits::max(), Limits::max()},
      {Limits::max(), Limits::max()},
      {0, Limits::max()},
      {Limits::denorm_min()},
      {0, Limits::denorm_min()},
      {-Limits::denorm_min(), 7 * Limits::denorm_min()},
      {Limits::min(), 2 * Limits::min()},
      {1e-300, 1e300},
      {1e15, 1e15 + 1},
      {-1e-3, 2e5},
      {NAN, 1, INFINITY, 2},
  };
  for (const auto& values : cases) {
    for (const bool logarithmic : {false, true}) {
      SCOPED_TRACE(testing::Message() << values[0] << " ..., logarithmic " << logarithmic);
      const PlotAxis axis(values, 0, 100, logarithmic, 0.04);
      if (!axis.empty()) {
        expect_drawable(axis, values);
      }
    }
  }
}

TEST(PlotAxis, NothingToDrawIsEmpty) {
  EXPECT_TRUE(PlotAxis({}, 0, 100).empty());
  EXPECT_TRUE(PlotAxis({NAN, -INFINITY}, 0, 100).empty());
  EXPECT_TRUE(PlotAxis({0, -1}, 0, 100, true).empty());
  EXPECT_TRUE(PlotAxis({}, 0, 100).ticks().empty());
}

TEST(PlotAxis, WholeValuesHaveWholeTicks) {
  EXPECT_THAT(labels(PlotAxis({1, 2, 3}, 0, 100)), testing::ElementsAre("1", "2", "3"));
  EXPECT_THAT(labels(PlotAxis({1, 2}, 0, 100)), testing::ElementsAre("1", "2"));
  EXPECT_THAT(labels(PlotAxis({7}, 0, 100)), testing::ElementsAre("7"));
  EXPECT_THAT(labels(PlotAxis({0, 200000}, 0, 100)),
              testing::ElementsAre("0", "50,000", "100,000", "150,000", "200,000"));
  EXPECT_THAT(labels(PlotAxis({1, 1.5}, 0, 100)), testing::Contains("1.1"));
}

TEST(PlotAxis, LogarithmicAxesHaveThreeLabels) {
  for (const auto& values : std::vector<std::vector<double>>{{2.1, 2.4},
                                                             {0.9, 1.1},
                                                             {3, 40},
                                                             {1, 2},
                                                             {1e-8, 1e3},
                                                             {0.02, 0.02},
                                                             {2.30, 2.31},
                                                             {1.7, 180},
                                                             {1, 1e9}}) {
    const PlotAxis axis(values, 0, 100, true, 0.04);
    EXPECT_GE(axis.ticks().size(), 3U) << values[0] << " to " << values[1];
    expect_drawable(axis, values);
  }
}

}  // namespace
}  // namespace eigenscale
