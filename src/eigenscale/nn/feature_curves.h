#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace eigenscale {

/// Where numbers of each feature lie among its knots, feature by feature.
struct CurvePlaces {
  torch::Tensor interval;  ///< D x n, int64: of the Q - 1 between knots; beyond them the outer ones
  torch::Tensor distance;  ///< D x n, from the interval's left knot
};

/// A monotone curve of each of D features: quadratic between Q knots with a continuous slope, a
/// straight line beyond the outer ones. A layer without mixing, which bends no subspace that is
/// not bent along the axes, and takes back what a sensor or a scale has bent there.
struct FeatureCurves {
  torch::Tensor knots;   ///< D x Q, double, ascending
  torch::Tensor values;  ///< D x Q, at the knots, double
  torch::Tensor slopes;  ///< D x Q, at the knots, double, not negative; all 0: a constant

  bool defined() const { return knots.defined(); }
  std::int64_t features() const { return knots.size(0); }

  /// [local] Of n x D rows, of the knots' type.
  CurvePlaces places(const torch::Tensor& rows) const;
  /// [local] n x D. A number depends on its own place alone. Differentiable in values and slopes.
  torch::Tensor at(const CurvePlaces& places) const;
  /// [local] n x D -> n x D of the rows' type, computed in double, where the rows are.
  torch::Tensor operator()(const torch::Tensor& rows) const;
};

/// [local] Whether these are such curves: shapes, ascending knots, slopes that are not negative,
/// values that follow from them, all finite.
bool are_feature_curves(const FeatureCurves& curves);

}  // namespace eigenscale
