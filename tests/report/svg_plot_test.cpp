#include "eigenscale/report/svg_plot.h"

#include <cmath>
#include <limits>

#include "report_test_support.h"

namespace eigenscale {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(SvgPlot, LeavesOutWhatIsNotFinite) {
  for (const bool log_y : {false, true}) {
    const auto svg = svg_plot({{"a", {1, 2, 3, 4}, {1, kNan, INFINITY, 8}}, {"b", {1}, {-1}}},
                              {.x_label = "x", .y_label = "y", .log_y = log_y});
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_EQ(svg.find("inf"), std::string::npos);
    EXPECT_EQ(test::unbalanced_tag(svg), "");
  }
}

TEST(SvgPlot, OneValueAndNoValueAreDrawn) {
  EXPECT_NE(svg_plot({{"", {1}, {5}}}, {}).find("<svg"), std::string::npos);
  EXPECT_EQ(svg_plot({{"", {}, {}}}, {}).find("<svg"), std::string::npos);
}

TEST(SvgPlot, PointsLieInsideTheFrame) {
  const auto svg = svg_plot({{"", {0, 50, 100}, {-3, 0, 3}}}, {.points = true});
  std::size_t circles = 0;
  for (std::size_t at = svg.find("cy='"); at != std::string::npos; at = svg.find("cy='", at + 1)) {
    const double y = std::stod(svg.substr(at + 4));
    EXPECT_GT(y, 0);
    EXPECT_LT(y, 320);
    ++circles;
  }
  EXPECT_EQ(circles, 3U);
}

TEST(SvgPlot, AxisFromZeroHoldsZero) {
  const Series series{"", {1, 10, 100}, {500, 510, 520}};
  EXPECT_EQ(svg_plot({series}, {.x_label = "x", .y_label = "y"}).find(">0</text>"),
            std::string::npos);
  EXPECT_NE(
      svg_plot({series}, {.x_label = "x", .y_label = "y", .from_zero = true}).find(">0</text>"),
      std::string::npos);
}

TEST(SvgPlot, DecadesOfALogarithmicAxisAreAsWide) {
  const auto svg =
      svg_plot({{"", {1e5, 1e6, 1e7, -1}, {1, 1, 1, 1}}}, {.log_x = true, .dots = true});
  std::vector<double> x;
  for (std::size_t at = svg.find("cx='"); at != std::string::npos; at = svg.find("cx='", at + 1)) {
    x.push_back(std::stod(svg.substr(at + 4)));
  }
  ASSERT_EQ(x.size(), 3U);
  EXPECT_NEAR(x[2] - x[1], x[1] - x[0], 0.2);
}

TEST(SvgPlot, APageHoldsItsPanelsAndNoEmptyOne) {
  const auto page = svg_page("a < b", {{"first & last", {{"", {1, 2}, {3, 4}}}, {}},
                                       {"empty", {{"", {}, {}}}, {}},
                                       {"third", {{"", {1, 2}, {3, 4}}}, {}}});
  EXPECT_EQ(test::unbalanced_tag(page), "");
  EXPECT_NE(page.find("a &lt; b"), std::string::npos);
  EXPECT_NE(page.find("first &amp; last"), std::string::npos);
  EXPECT_EQ(page.find("empty"), std::string::npos);
  // Beside the first: in the place of the one that is left out.
  EXPECT_NE(page.find("<svg x='640' y='60' width='640' height='320' viewBox"), std::string::npos);
}

TEST(SvgPlot, ColoursOfNeighboursDiffer) {
  for (const std::int64_t categories : {2, 6, 7, 40}) {
    for (std::int64_t k = 0; k + 1 < categories; ++k) {
      EXPECT_NE(category_colour(k, categories), category_colour(k + 1, categories));
    }
  }
}

}  // namespace
}  // namespace eigenscale
