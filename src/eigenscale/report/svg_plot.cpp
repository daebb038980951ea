#include "eigenscale/report/svg_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numbers>

#include "eigenscale/report/html_report.h"
#include "eigenscale/report/plot_axis.h"

namespace eigenscale {
namespace {

constexpr double kWidth = 640;
constexpr double kHeight = 320;
constexpr double kLeft = 72;
constexpr double kRight = 20;
constexpr double kTop = 22;
constexpr double kBottom = 48;

std::string format(const char* pattern, auto... values) {
  std::array<char, 512> text{};
  std::snprintf(text.data(), text.size(), pattern, values...);
  return text.data();
}

bool drawable(double x, double y, const PlotOptions& options) {
  return std::isfinite(x) && std::isfinite(y) && (!options.log_x || x > 0) &&
         (!options.log_y || y > 0);
}

std::string axes(const PlotAxis& x, const PlotAxis& y, const PlotOptions& options) {
  std::string svg;
  for (const auto& tick : y.ticks()) {
    svg += format("<line class='grid' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/>", x.from(), x.to(),
                  tick.pixel, tick.pixel);
    svg += format("<text x='%.1f' y='%.1f' text-anchor='end'>%s</text>", x.from() - 8,
                  tick.pixel + 4, tick.label.c_str());
  }
  for (const auto& tick : x.ticks()) {
    svg += format("<text x='%.1f' y='%.1f' text-anchor='middle'>%s</text>", tick.pixel,
                  y.from() + 18, tick.label.c_str());
  }
  svg += format("<line class='axis' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/>", x.from(), x.to(),
                y.from(), y.from());
  svg += format("<text class='label' x='%.1f' y='%.1f' text-anchor='middle'>%s</text>",
                (x.from() + x.to()) / 2, kHeight - 8, options.x_label.c_str());
  svg += format(
      "<text class='label' transform='translate(14 %.1f) rotate(-90)' "
      "text-anchor='middle'>%s</text>",
      (y.from() + y.to()) / 2, options.y_label.c_str());
  return svg;
}

}  // namespace

std::string category_colour(std::int64_t category, std::int64_t categories) {
  // Okabe and Ito's palette, without black and yellow.
  constexpr std::array<const char*, 6> kFew = {"#0072B2", "#E69F00", "#009E73",
                                               "#D55E00", "#CC79A7", "#56B4E9"};
  if (categories <= std::ssize(kFew)) {
    return kFew[category % kFew.size()];
  }
  const double hue = std::fmod(360.0 * static_cast<double>(category) * 0.618034, 360);
  return format("hsl(%.0f 65%% %d%%)", hue, category % 2 == 0 ? 45 : 58);
}

std::string svg_plot(const std::vector<Series>& series, const PlotOptions& options) {
  std::vector<double> across;
  std::vector<double> up;
  for (const auto& curve : series) {
    for (std::size_t i = 0; i < curve.x.size(); ++i) {
      if (drawable(curve.x[i], curve.y[i], options)) {
        across.push_back(curve.x[i]);
        up.push_back(curve.y[i]);
      }
    }
  }
  if (across.empty()) {
    return "<p class='note'>Nothing to draw: no finite values.</p>";
  }
  if (options.from_zero && !options.log_y) {
    up.push_back(0);
  }
  const PlotAxis x(across, kLeft, kWidth - kRight, options.log_x);
  const PlotAxis y(up, kHeight - kBottom, kTop, options.log_y, 0.04);

  std::string svg = format("<svg viewBox='0 0 %.0f %.0f' role='img'>", kWidth, kHeight);
  svg += axes(x, y, options);
  double legend = kLeft;
  for (std::size_t s = 0; s < series.size(); ++s) {
    const auto colour = category_colour(static_cast<std::int64_t>(s), 6);
    std::string path;
    std::string dots;
    for (std::size_t i = 0; i < series[s].x.size(); ++i) {
      if (!drawable(series[s].x[i], series[s].y[i], options)) {
        continue;
      }
      const double px = x.pixel(series[s].x[i]);
      const double py = y.pixel(series[s].y[i]);
      path += format("%s%.1f %.1f", path.empty() ? "M" : "L", px, py);
      dots += format("<circle cx='%.1f' cy='%.1f' r='3.5'/>", px, py);
    }
    if (!options.points) {
      svg += "<path class='curve' stroke='" + colour + "' d='" + path + "'/>";
    }
    if (options.points || options.dots) {
      svg += "<g fill='" + colour + "'>" + dots + "</g>";
    }
    if (series.size() > 1) {
      svg +=
          format("<rect x='%.0f' y='5' width='11' height='11' fill='%s'/>", legend, colour.c_str());
      svg += format("<text x='%.0f' y='15'>%s</text>", legend + 16, series[s].name.c_str());
      legend += 32 + 7.0 * static_cast<double>(series[s].name.size());
    }
  }
  if (!options.mark_text.empty() && std::isfinite(options.mark)) {
    const double at = x.pixel(options.mark);
    svg += format("<line class='mark' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/>", at, at, kTop,
                  kHeight - kBottom);
    const bool left = at > kWidth / 2;
    svg += format("<text x='%.1f' y='%.1f' text-anchor='%s'>%s</text>", at + (left ? -6 : 6),
                  kTop + 12, left ? "end" : "start", options.mark_text.c_str());
  }
  return svg + "</svg>";
}

std::string svg_page(const std::string& title, const std::vector<SvgPanel>& panels) {
  constexpr double kTitle = 34;
  constexpr double kHeading = 26;
  // As HtmlReport's, in light: an image has no style sheet but its own.
  constexpr const char* kStyle =
      "text{font:12px sans-serif;fill:#5b6675}.grid{stroke:#dfe4ea}.axis{stroke:#5b6675;fill:none}"
      ".label,.title{fill:#1c2430}.title{font-size:15px}.curve{fill:none;stroke-width:2}";
  std::string pictures;
  std::size_t drawn = 0;
  for (const auto& panel : panels) {
    const auto plot = svg_plot(panel.series, panel.options);
    if (!plot.starts_with("<svg")) {
      continue;
    }
    const double left = kWidth * static_cast<double>(drawn % 2);
    const double top = kTitle + (kHeight + kHeading) * static_cast<double>(drawn / 2);
    pictures += format("\n<text class='label' x='%.0f' y='%.0f'>", left + kLeft, top + 14) +
                escape_html(panel.heading) + "</text>\n" +
                format("<svg x='%.0f' y='%.0f' width='%.0f' height='%.0f'", left, top + kHeading,
                       kWidth, kHeight) +
                plot.substr(4);
    ++drawn;
  }
  const double width = drawn > 1 ? 2 * kWidth : kWidth;
  const double height = kTitle + (kHeight + kHeading) * std::ceil(static_cast<double>(drawn) / 2);
  return format("<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %.0f %.0f'><style>", width,
                height) +
         kStyle + format("</style><rect width='%.0f' height='%.0f' fill='#fff'/>", width, height) +
         format("<text class='title' x='%.0f' y='22'>", kLeft) + escape_html(title) + "</text>" +
         pictures + "\n</svg>\n";
}

std::string svg_disc(const std::vector<double>& x, const std::vector<double>& y,
                     const std::vector<std::int64_t>& category, std::int64_t categories) {
  constexpr double kSize = 520;
  constexpr double kRadius = 225;
  std::string svg =
      format("<svg viewBox='0 0 %.0f %.0f' role='img' style='max-width:520px'>", kSize, kSize);
  svg +=
      format("<circle class='rim' cx='%.0f' cy='%.0f' r='%.0f'/>", kSize / 2, kSize / 2, kRadius);
  for (std::int64_t k = 0; k < categories; ++k) {
    const double angle =
        2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(categories);
    svg += format("<text x='%.1f' y='%.1f' text-anchor='middle'>%lld</text>",
                  kSize / 2 + (kRadius + 18) * std::cos(angle),
                  kSize / 2 - (kRadius + 18) * std::sin(angle) + 4, static_cast<long long>(k));
  }
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (std::isfinite(x[i]) && std::isfinite(y[i])) {
      svg += format("<circle cx='%.1f' cy='%.1f' r='2.6' fill='%s' fill-opacity='.7'/>",
                    kSize / 2 + kRadius * x[i], kSize / 2 - kRadius * y[i],
                    category_colour(category[i], categories).c_str());
    }
  }
  return svg + "</svg>";
}

}  // namespace eigenscale
