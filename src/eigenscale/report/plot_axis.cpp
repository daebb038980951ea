#include "eigenscale/report/plot_axis.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>

#include "eigenscale/core/number_text.h"

namespace eigenscale {
namespace {

// Below this share of its values a range is rounding, which labels could not tell apart either.
constexpr double kEqual = 1e-9;
// From here on labels are powers of ten.
constexpr double kLongestCount = 1e7;

/// `step` tells how many digits a label needs to differ from the next.
std::string label(double value, double step) {
  if (value == 0) {
    return "0";
  }
  const double size = std::abs(value);
  if (value == std::floor(value) && size < kLongestCount) {
    return count_text(std::llround(value));
  }
  const double digits = 1 + std::ceil(std::log10(std::max(size / step, 1.0)) - 1e-9);
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "%.*g", static_cast<int>(std::clamp(digits, 3.0, 12.0)),
                value);
  return text.data();
}

/// The round number (1, 2 or 5 times a power of ten) nearest to `rough`.
double round_step(double rough) {
  const double magnitude = std::pow(10, std::floor(std::log10(rough)));
  const double digit = rough / magnitude;
  return magnitude * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
}

}  // namespace

PlotAxis::PlotAxis(const std::vector<double>& values, double from, double to, bool logarithmic,
                   double margin)
    : from_(from), to_(to), logarithmic_(logarithmic) {
  double low = INFINITY;
  double high = -INFINITY;
  for (const double value : values) {
    if (shows(value)) {
      const double at = logarithmic ? std::log10(value) : value;
      low = std::min(low, at);
      high = std::max(high, at);
      whole_ = whole_ && value == std::floor(value);
    }
  }
  empty_ = !(low <= high);
  if (empty_) {
    return;
  }
  const double size = std::max(std::abs(low), std::abs(high));
  if (!logarithmic && size > 0) {
    std::frexp(size, &exponent_);
  }
  low_ = std::ldexp(low, -exponent_);
  high_ = std::ldexp(high, -exponent_);
  if (high_ - low_ <= kEqual * (logarithmic ? std::max(size, 1.0) : std::ldexp(size, -exponent_))) {
    const double pad = logarithmic || low_ == 0 ? 1 : std::abs(low_) * 0.1;
    low_ -= pad;
    high_ += pad;
  }
  const double free = margin * (high_ - low_);
  low_ -= free;
  high_ += free;
}

bool PlotAxis::shows(double value) const {
  return std::isfinite(value) && (!logarithmic_ || value > 0);
}

double PlotAxis::scaled(double value) const {
  return logarithmic_ ? std::log10(value) : std::ldexp(value, -exponent_);
}

double PlotAxis::pixel(double value) const {
  return from_ + (scaled(value) - low_) / (high_ - low_) * (to_ - from_);
}

std::vector<PlotAxis::Tick> PlotAxis::ticks() const {
  if (empty_) {
    return {};
  }
  return logarithmic_ ? logarithmic_ticks()
                      : linear_ticks(std::ldexp(low_, exponent_), std::ldexp(high_, exponent_));
}

std::vector<PlotAxis::Tick> PlotAxis::linear_ticks(double low, double high) const {
  // Denormal numbers have no round neighbours, and beyond the largest number there are none.
  constexpr double kLargest = std::numeric_limits<double>::max();
  constexpr double kSmallest = 1e-300;
  low = std::clamp(low, -kLargest, kLargest);
  high = std::clamp(high, -kLargest, kLargest);
  std::vector<Tick> result;
  if (std::max(std::abs(low), std::abs(high)) < kSmallest) {
    result.push_back({pixel(low), label(low, std::abs(low))});
    if (low < high) {
      result.push_back({pixel(high), label(high, std::abs(high))});
    }
    return result;
  }
  double step = round_step(high / 5 - low / 5);
  if (whole_ && !logarithmic_) {
    step = std::max(step, 1.0);
  }
  // By number: adding a step to a value that it is too small for would never end.
  const auto first = static_cast<std::int64_t>(std::ceil(low / step - 1e-9));
  const auto last = static_cast<std::int64_t>(std::floor(high / step + 1e-9));
  for (std::int64_t i = first; i <= last; ++i) {
    const double value = static_cast<double>(i) * step;
    result.push_back({pixel(value), label(value, step)});
  }
  return result;
}

std::vector<PlotAxis::Tick> PlotAxis::logarithmic_ticks() const {
  constexpr std::size_t kFewest = 3;
  for (const auto& digits : {std::vector<double>{1}, {1, 3}, {1, 2, 5}}) {
    const double decades = std::max(1.0, std::ceil((high_ - low_) / 6));
    std::vector<Tick> result;
    for (double power = std::floor(low_); power <= high_; power += decades) {
      for (const double digit : digits) {
        const double value = digit * std::pow(10, power);
        if (shows(value) && scaled(value) >= low_ - 1e-9 && scaled(value) <= high_ + 1e-9) {
          result.push_back({pixel(value), label(value, value)});
        }
      }
    }
    if (result.size() >= kFewest) {
      return result;
    }
  }
  auto result = linear_ticks(std::pow(10, low_), std::pow(10, high_));
  std::erase_if(result, [&](const Tick& tick) { return !std::isfinite(tick.pixel); });
  return result;
}

}  // namespace eigenscale
