#include "eigenscale/spectral/gradient_rule.h"

#include <algorithm>
#include <array>
#include <utility>

#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

constexpr std::array<std::pair<GradientRule, const char*>, 5> kNames = {{
    {GradientRule::kExact, "exact"},
    {GradientRule::kPowerIteration, "power-iteration"},
    {GradientRule::kTaylor, "taylor"},
    {GradientRule::kClip, "clip"},
    {GradientRule::kPade, "pade"},
}};

/// sum_{k < terms} x^k by Horner's rule.
torch::Tensor geometric_sum(const torch::Tensor& x, std::int64_t terms) {
  auto sum = torch::ones_like(x);
  for (std::int64_t k = 1; k < terms; ++k) {
    sum.mul_(x).add_(1);
  }
  return sum;
}

/// P / Q with P = sum_{k < T} (1 - k / T) x^k and Q = 1 - sum_{1 <= k <= T} x^k / T = (1 - x) P,
/// the Pade approximant whose denominator has the smallest coefficients. Q is kept off its root
/// at 1.
torch::Tensor rational_sum(const torch::Tensor& x, std::int64_t terms) {
  constexpr double kSmallestDenominator = 1e-8;
  const double count = static_cast<double>(terms);
  auto numerator = torch::zeros_like(x);
  for (std::int64_t k = terms - 1; k >= 0; --k) {
    numerator.mul_(x).add_(1 - static_cast<double>(k) / count);
  }
  return numerator / ((1 - x) * numerator).clamp_min(kSmallestDenominator);
}

/// sum(l_j / l_i) / l_i for l_i >= l_j (above the diagonal), with the opposite sign below it.
torch::Tensor series(const torch::Tensor& values, double smallest, std::int64_t terms,
                     torch::Tensor (*sum)(const torch::Tensor&, std::int64_t)) {
  const auto clamped = values.clamp_min(smallest);
  const auto larger = clamped.unsqueeze(1);
  const auto ratio = (clamped.unsqueeze(0) / larger).clamp_max(1);
  const auto upper = torch::triu(sum(ratio, terms) / larger, 1);
  return upper - upper.t();
}

}  // namespace

std::string to_string(GradientRule rule) {
  return std::ranges::find(kNames, rule, &decltype(kNames)::value_type::first)->second;
}

GradientRule parse_gradient_rule(const std::string& text) {
  const auto found = std::ranges::find(kNames, text, &decltype(kNames)::value_type::second);
  if (found == kNames.end()) {
    throw OptionError("the gradient rule is '" + text +
                      "'; expected exact, power-iteration, taylor, clip or pade");
  }
  return found->first;
}

torch::Tensor gradient_factors(const torch::Tensor& values, const GradientRuleOptions& options) {
  constexpr double kTaylorSmallest = 1e-10;
  constexpr double kClipSmallest = 0.01;
  const auto terms = [&](std::int64_t own) { return options.terms > 0 ? options.terms : own; };
  const auto difference = values.unsqueeze(1) - values.unsqueeze(0);
  switch (options.rule) {
    case GradientRule::kExact: {
      const auto upper = torch::triu(difference.reciprocal(), 1);
      return upper - upper.t();
    }
    case GradientRule::kClip: {
      const auto upper = torch::triu(difference.clamp_min(kClipSmallest).reciprocal(), 1);
      return upper - upper.t();
    }
    case GradientRule::kTaylor:
      return series(values, kTaylorSmallest, terms(10), geometric_sum);
    case GradientRule::kPade:
      return series(values, kTaylorSmallest, terms(10), rational_sum);
    default: {
      const double largest =
          values.numel() > 0 ? number_of(values[0], "eigenvalues").toDouble() : 0;
      const double rounding = static_cast<double>(values.numel()) * 0x1p-52 * largest;
      return series(values, std::max(rounding, 1e-300), terms(20), geometric_sum);
    }
  }
}

}  // namespace eigenscale
