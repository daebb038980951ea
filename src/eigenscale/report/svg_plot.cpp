#include "eigenscale/report/svg_plot.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <numbers>

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

/// One axis: data range to pixels, and round ticks.
struct Axis {
  double low = 0;
  double high = 1;
  double from = 0;
  double to = 1;
  bool logarithmic = false;

  double scale(double value) const { return logarithmic ? std::log10(value) : value; }
  double pixel(double value) const {
    return from + (scale(value) - low) / (high - low) * (to - from);
  }

  std::vector<double> ticks() const {
    std::vector<double> result;
    if (logarithmic) {
      const double step = std::max(1.0, std::ceil((high - low) / 6));
      for (double power = std::ceil(low - 1e-9); power <= high + 1e-9; power += step) {
        result.push_back(std::pow(10, power));
      }
      return result;
    }
    const double rough = (high - low) / 5;
    const double magnitude = std::pow(10, std::floor(std::log10(rough)));
    const double digit = rough / magnitude;
    const double step = magnitude * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
    for (double tick = std::ceil(low / step - 1e-9) * step; tick <= high + 1e-9 * step;
         tick += step) {
      result.push_back(std::abs(tick) < 1e-9 * step ? 0 : tick);
    }
    return result;
  }
};

bool drawable(double x, double y, bool log_y) {
  return std::isfinite(x) && std::isfinite(y) && (!log_y || y > 0);
}

void widen(Axis& axis) {
  if (!(axis.low < axis.high)) {
    const double pad = axis.low == 0 ? 1 : std::abs(axis.low) * 0.1;
    axis.low -= pad;
    axis.high += pad;
  }
}

std::string axes(const Axis& x, const Axis& y, const PlotOptions& options) {
  std::string svg;
  for (const double tick : y.ticks()) {
    const double at = y.pixel(tick);
    svg += format("<line class='grid' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/>", x.from, x.to, at,
                  at);
    svg += format("<text x='%.1f' y='%.1f' text-anchor='end'>%s</text>", x.from - 8, at + 4,
                  short_number(tick).c_str());
  }
  for (const double tick : x.ticks()) {
    svg += format("<text x='%.1f' y='%.1f' text-anchor='middle'>%s</text>", x.pixel(tick),
                  y.from + 18, short_number(tick).c_str());
  }
  svg += format("<line class='axis' x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f'/>", x.from, x.to,
                y.from, y.from);
  svg += format("<text class='label' x='%.1f' y='%.1f' text-anchor='middle'>%s</text>",
                (x.from + x.to) / 2, kHeight - 8, options.x_label.c_str());
  svg += format(
      "<text class='label' transform='translate(14 %.1f) rotate(-90)' "
      "text-anchor='middle'>%s</text>",
      (y.from + y.to) / 2, options.y_label.c_str());
  return svg;
}

}  // namespace

std::string short_number(double value) {
  if (value == 0) {
    return "0";
  }
  const double size = std::abs(value);
  if (size >= 1e5 || size < 1e-3) {
    return format("%.3g", value);
  }
  return format("%.4g", value);
}

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
  Axis x{.low = INFINITY, .high = -INFINITY, .from = kLeft, .to = kWidth - kRight};
  Axis y{.low = INFINITY,
         .high = -INFINITY,
         .from = kHeight - kBottom,
         .to = kTop,
         .logarithmic = options.log_y};
  for (const auto& curve : series) {
    for (std::size_t i = 0; i < curve.x.size(); ++i) {
      if (drawable(curve.x[i], curve.y[i], options.log_y)) {
        x.low = std::min(x.low, curve.x[i]);
        x.high = std::max(x.high, curve.x[i]);
        y.low = std::min(y.low, y.scale(curve.y[i]));
        y.high = std::max(y.high, y.scale(curve.y[i]));
      }
    }
  }
  if (!std::isfinite(x.low)) {
    return "<p class='note'>Nothing to draw: no finite values.</p>";
  }
  widen(x);
  widen(y);
  const double pad = 0.04 * (y.high - y.low);
  y.low -= pad;
  y.high += pad;

  std::string svg = format("<svg viewBox='0 0 %.0f %.0f' role='img'>", kWidth, kHeight);
  svg += axes(x, y, options);
  double legend = kLeft;
  for (std::size_t s = 0; s < series.size(); ++s) {
    const auto colour = category_colour(static_cast<std::int64_t>(s), 6);
    std::string path;
    for (std::size_t i = 0; i < series[s].x.size(); ++i) {
      if (!drawable(series[s].x[i], series[s].y[i], options.log_y)) {
        continue;
      }
      const double px = x.pixel(series[s].x[i]);
      const double py = y.pixel(series[s].y[i]);
      path += options.points ? format("<circle cx='%.1f' cy='%.1f' r='3.5'/>", px, py)
                             : format("%s%.1f %.1f", path.empty() ? "M" : "L", px, py);
    }
    svg += options.points ? "<g fill='" + colour + "'>" + path + "</g>"
                          : "<path class='curve' stroke='" + colour + "' d='" + path + "'/>";
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
