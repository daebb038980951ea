#include "eigenscale/core/number_text.h"

#include <array>
#include <cmath>
#include <cstdio>

namespace eigenscale {
namespace {

std::string number(const char* pattern, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), pattern, value);
  return text.data();
}

/// "7 min 05 s": `total` in the smaller unit, of which `per` make one of the larger.
std::string in_two_units(double total, std::int64_t per, const char* larger, const char* smaller,
                         bool padded) {
  const auto whole = std::llround(total);
  const std::string rest = std::to_string(whole % per);
  return count_text(whole / per) + " " + larger + " " +
         (padded && rest.size() < 2 ? "0" + rest : rest) + " " + smaller;
}

}  // namespace

std::string count_text(std::int64_t value) {
  std::string text = std::to_string(value);
  const std::int64_t first_digit = value < 0 ? 1 : 0;
  for (auto at = std::ssize(text) - 3; at > first_digit; at -= 3) {
    text.insert(at, ",");
  }
  return text;
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || std::abs(seconds) >= 1e15) {
    return number("%.3g s", seconds);
  }
  if (seconds < 9.995) {
    return number("%.2f s", seconds);
  }
  if (seconds < 59.95) {
    return number("%.1f s", seconds);
  }
  if (seconds < 3599.5) {
    return in_two_units(seconds, 60, "min", "s", true);
  }
  if (seconds < 86400 - 30) {
    return in_two_units(seconds / 60, 60, "h", "min", true);
  }
  return in_two_units(seconds / 3600, 24, "d", "h", false);
}

std::string bytes_text(double bytes) {
  constexpr double kMiB = 1024.0 * 1024;
  return bytes < 1023.5 * kMiB ? number("%.0f MiB", bytes / kMiB)
                               : number("%.1f GiB", bytes / (1024 * kMiB));
}

std::string short_number(double value) {
  const double size = std::abs(value);
  const bool whole = value == std::floor(value);
  if (value == 0) {
    return "0";
  }
  if ((whole && size < 1e15) || (size >= 1e5 && size < 1e9)) {
    return count_text(std::llround(value));
  }
  return number(size >= 1e5 || size < 1e-3 ? "%.3g" : "%.4g", value);
}

}  // namespace eigenscale
