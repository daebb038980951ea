#include "eigenscale/cluster/feature_whitening.h"

namespace eigenscale {

torch::Tensor feature_whitening(const LeadingDirections& all, double share) {
  constexpr double kSmallest = 1e-6;
  const auto& moments = all.moments;
  const double largest = moments.max().item<double>();
  if (!(largest > 0)) {
    return torch::eye(moments.size(0), torch::kFloat64);
  }
  const auto scale = (moments / largest).clamp_min(kSmallest).pow(-share / 2);
  return (all.directions * scale).mm(all.directions.t());
}

}  // namespace eigenscale
