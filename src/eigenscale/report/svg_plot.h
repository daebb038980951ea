#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace eigenscale {

struct Series {
  std::string name;
  std::vector<double> x;
  std::vector<double> y;
};

struct PlotOptions {
  std::string x_label = {};
  std::string y_label = {};
  bool log_x = false;
  bool log_y = false;
  /// The axis of y begins at 0, unless it is logarithmic.
  bool from_zero = false;
  /// Marks instead of lines.
  bool points = false;
  /// Marks on the lines.
  bool dots = false;
  /// A vertical line at this x with this text beside it; none without a text.
  double mark = 0;
  std::string mark_text = {};
};

/// [local] Curves or marks over common axes as an <svg>. Values that are not finite (on a log axis:
/// not positive) are left out. A <p> where nothing is left.
std::string svg_plot(const std::vector<Series>& series, const PlotOptions& options);

/// One of several pictures on a page.
struct SvgPanel {
  std::string heading;
  std::vector<Series> series;
  PlotOptions options;
};

/// [local] A file of its own, for any viewer: the panels in two columns under a title (plain text).
std::string svg_page(const std::string& title, const std::vector<SvgPanel>& panels);

/// [local] Points of the unit disc coloured by category, as an <svg>; category k has its corner at
/// angle 2 pi k / categories, marked with its number.
std::string svg_disc(const std::vector<double>& x, const std::vector<double>& y,
                     const std::vector<std::int64_t>& category, std::int64_t categories);

/// [local] The colour of a category, as CSS: a colour-blind safe set for few, hues for many.
std::string category_colour(std::int64_t category, std::int64_t categories);

}  // namespace eigenscale
