#include "eigenscale/cluster/curve_likelihood.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace eigenscale {
namespace {

// Closer together towards both ends, where a curve bends most as a rule.
const std::vector<double> kQuantiles = {0,    0.0005, 0.002, 0.005, 0.01,   0.02, 0.03, 0.05, 0.08,
                                        0.12, 0.16,   0.2,   0.25,  0.31,   0.37, 0.43, 0.5,  0.57,
                                        0.63, 0.69,   0.75,  0.8,   0.84,   0.88, 0.92, 0.95, 0.97,
                                        0.98, 0.99,   0.995, 0.998, 0.9995, 1};
constexpr std::int64_t kRowsAtOnce = 512;

// Single precision has 2^-24.
constexpr double kConstant = 1.0 / (1 << 20);

}  // namespace

CurveParameters::CurveParameters(const torch::Tensor& sample) {
  place_knots(sample);
  parameters_ = register_parameter("log_slopes", torch::zeros_like(knots_));
  sum_weights(sample);
}

void CurveParameters::place_knots(const torch::Tensor& sample) {
  const std::int64_t rows = sample.size(0);
  const std::int64_t features = sample.size(1);
  const auto quantiles = torch::tensor(kQuantiles, torch::kFloat64);
  const auto even = torch::linspace(0, 1, kKnots, torch::kFloat64);
  knots_ = torch::empty({features, kKnots}, torch::kFloat64);
  bends_ = torch::zeros({features, 1}, torch::kFloat64);
  varies_ = torch::zeros({features, 1}, torch::kBool);
  counted_ = torch::zeros({features, rows}, torch::kBool);
  for (std::int64_t j = 0; j < features; ++j) {
    const auto [values, inverse, counts] =
        torch::_unique2(sample.select(1, j).contiguous(), /*sorted=*/true,
                        /*return_inverse=*/true, /*return_counts=*/true);
    const double smallest = values[0].item<double>();
    const double width = values[-1].item<double>() - smallest;
    const bool varies = width > kConstant * values.abs().max().item<double>();
    auto knots = torch::quantile(values, quantiles);
    const bool bends = varies && 2 * values.size(0) >= rows && values.size(0) >= kFewestValues &&
                       (knots.diff() > 0).all().item<bool>();
    if (bends) {
      counted_[j].copy_(counts.index_select(0, inverse) == 1);
    } else {
      knots = smallest + (varies ? width : std::max(1.0, std::abs(smallest))) * even;
    }
    knots_[j].copy_(knots);
    bends_[j].fill_(bends ? 1 : 0);
    varies_[j].fill_(varies);
  }
}

void CurveParameters::sum_weights(const torch::Tensor& sample) {
  const auto widths = knots_.diff();
  // What the slopes add up to from the first knot to each other one: D x Q x Q.
  const auto features = knots_.size(0);
  auto up_to = torch::zeros({features, kKnots, kKnots}, torch::kFloat64);
  for (std::int64_t q = 1; q < kKnots; ++q) {
    const auto half = widths.select(1, q - 1) / 2;
    up_to.select(1, q).copy_(up_to.select(1, q - 1));
    up_to.select(1, q).select(1, q - 1).add_(half);
    up_to.select(1, q).select(1, q).add_(half);
  }
  mean_weights_ = torch::zeros({features, kKnots}, torch::kFloat64);
  square_weights_ = torch::zeros({features, kKnots, kKnots}, torch::kFloat64);
  const FeatureCurves only_knots{knots_, {}, {}};
  for (std::int64_t begin = 0; begin < sample.size(0); begin += kRowsAtOnce) {
    const auto rows = sample.narrow(0, begin, std::min(kRowsAtOnce, sample.size(0) - begin));
    const auto [interval, distance] = only_knots.places(rows);
    const auto index = interval.unsqueeze(2);
    const auto of_right = distance.square() / (2 * widths.gather(1, interval));
    auto weights = up_to.gather(1, index.expand({-1, -1, kKnots}));
    weights.scatter_add_(2, index, (distance - of_right).unsqueeze(2));
    weights.scatter_add_(2, index + 1, of_right.unsqueeze(2));
    mean_weights_ += weights.sum(1);
    square_weights_ += weights.transpose(1, 2).bmm(weights);
  }
  mean_weights_ /= static_cast<double>(sample.size(0));
  square_weights_ /= static_cast<double>(sample.size(0));
}

FeatureCurves CurveParameters::curves() const {
  const auto slopes = (parameters_ * bends_).exp();
  const auto rises =
      knots_.diff() * (slopes.narrow(1, 0, kKnots - 1) + slopes.narrow(1, 1, kKnots - 1)) / 2;
  const auto heights = torch::cat({torch::zeros_like(bends_), rises.cumsum(1)}, 1);
  const auto mean = (mean_weights_ * slopes).sum(1, /*keepdim=*/true);
  const auto square = slopes.unsqueeze(1).bmm(square_weights_).bmm(slopes.unsqueeze(2)).squeeze(2);
  const auto variance = torch::where(varies_, square - mean.square(), torch::ones_like(mean));
  const auto scale = torch::where(varies_, variance.rsqrt(), torch::zeros_like(mean));
  return {knots_, (heights - mean) * scale, slopes * scale};
}

torch::Tensor CurveParameters::log_slopes(const FeatureCurves& curves, const CurvePlaces& places,
                                          const torch::Tensor& counted) {
  const auto& [interval, distance] = places;
  const auto next = interval + 1;
  const auto share = distance / (curves.knots.gather(1, next) - curves.knots.gather(1, interval));
  const auto left = curves.slopes.gather(1, interval);
  const auto slopes = left + (curves.slopes.gather(1, next) - left) * share;
  return torch::where(counted, slopes, torch::ones_like(slopes)).log().sum();
}

torch::Tensor distance_to_subspaces(const torch::Tensor& rows, const torch::Tensor& order,
                                    const torch::Tensor& begin, const torch::Tensor& bases) {
  const auto sorted = rows.index_select(0, order);
  const auto* from = begin.data_ptr<std::int64_t>();
  auto distance = sorted.square().sum();
  for (std::int64_t k = 0; k < bases.size(0); ++k) {
    if (from[k + 1] > from[k]) {
      distance =
          distance - sorted.narrow(0, from[k], from[k + 1] - from[k]).mm(bases[k]).square().sum();
    }
  }
  return distance;
}

}  // namespace eigenscale
