#include "eigenscale/nn/feature_curves.h"

namespace eigenscale {

CurvePlaces FeatureCurves::places(const torch::Tensor& rows) const {
  const auto columns = rows.t().contiguous();
  // The inner knots part the line into the intervals.
  const auto inner = knots.narrow(1, 1, knots.size(1) - 2).contiguous();
  auto interval = torch::searchsorted(inner, columns, /*out_int32=*/false, /*right=*/true);
  auto distance = columns - knots.gather(1, interval);
  return {std::move(interval), std::move(distance)};
}

torch::Tensor FeatureCurves::at(const CurvePlaces& places) const {
  const auto& [interval, distance] = places;
  const auto next = interval + 1;
  const auto width = (knots.gather(1, next) - knots.gather(1, interval)).detach();
  const auto inside = torch::minimum(distance.clamp_min(0), width);
  const auto beyond = distance - inside;
  const auto left = slopes.gather(1, interval);
  const auto right = slopes.gather(1, next);
  const auto outer = torch::where(distance < 0, left, right);
  const auto rise = left * inside + (right - left) * (inside * inside / (2 * width));
  return (values.gather(1, interval) + rise + outer * beyond).t().contiguous();
}

torch::Tensor FeatureCurves::operator()(const torch::Tensor& rows) const {
  return at(places(rows.to(torch::kFloat64))).to(rows.scalar_type());
}

bool are_feature_curves(const FeatureCurves& curves) {
  const auto& [knots, values, slopes] = curves;
  if (!knots.defined() || !values.defined() || !slopes.defined()) {
    return false;
  }
  if (knots.dim() != 2 || knots.size(0) < 1 || knots.size(1) < 3 ||
      values.sizes() != knots.sizes() || slopes.sizes() != knots.sizes()) {
    return false;
  }
  for (const auto* part : {&knots, &values, &slopes}) {
    if (part->scalar_type() != torch::kFloat64 || !torch::isfinite(*part).all().item<bool>()) {
      return false;
    }
  }
  const std::int64_t intervals = knots.size(1) - 1;
  const auto widths = knots.diff();
  const auto rises = widths * (slopes.narrow(1, 0, intervals) + slopes.narrow(1, 1, intervals)) / 2;
  const double largest = values.abs().max().item<double>();
  return (widths > 0).all().item<bool>() && (slopes >= 0).all().item<bool>() &&
         // What rounding makes of sums of so few.
         (values.diff() - rises).abs().max().item<double>() <= 1e-10 * (1 + largest);
}

}  // namespace eigenscale
