#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/nn/feature_curves.h"

namespace eigenscale {

/// Curves of features (FeatureCurves) by parameters without bounds: the logarithms of their slopes
/// at the knots, up to the scale and offset that give every feature of a sample mean 0 and variance
/// 1. A straight line to begin with.
///
/// Density, which the likelihood is made of, says nothing of values that occur again and again:
/// they do not count in it, and a feature of which fewer than half the sample's values, or fewer
/// than kFewestValues, are different stays a straight line. One that varies by less than a
/// millionth of its size counts as a constant and becomes 0.
class CurveParameters : public torch::nn::Module {
 public:
  static constexpr std::int64_t kKnots = 33;
  static constexpr std::int64_t kFewestValues = 10 * kKnots;

  /// [local] `sample` is n x D, double, the same on all ranks; so are the knots, which lie at
  /// quantiles of each feature.
  explicit CurveParameters(const torch::Tensor& sample);

  /// [local] As they are now; differentiable.
  FeatureCurves curves() const;
  /// [local] D x n, bool: which of the sample's values count, those that occur once in a feature
  /// that bends.
  const torch::Tensor& counted() const { return counted_; }
  /// [local] Sum of the logarithm of the curves' slopes at these places, where `counted` (D x n).
  static torch::Tensor log_slopes(const FeatureCurves& curves, const CurvePlaces& places,
                                  const torch::Tensor& counted);

 private:
  void place_knots(const torch::Tensor& sample);
  void sum_weights(const torch::Tensor& sample);

  torch::Tensor knots_;
  torch::Tensor bends_;   // D x 1, 1 or 0
  torch::Tensor varies_;  // D x 1, bool
  torch::Tensor counted_;
  // Mean and mean square over the sample of the curve through (first knot, 0) are w s and s^T M s
  // in the slopes s.
  torch::Tensor mean_weights_;    // w, D x Q
  torch::Tensor square_weights_;  // M, D x Q x Q
  torch::Tensor parameters_;      // D x Q
};

/// [local] Squared distance of unit rows to their subspaces, summed; differentiable in the rows.
/// `order` sorts the rows by label, cluster k's begin at begin[k] then; `bases` is K x D x s.
torch::Tensor distance_to_subspaces(const torch::Tensor& rows, const torch::Tensor& order,
                                    const torch::Tensor& begin, const torch::Tensor& bases);

}  // namespace eigenscale
