#include "eigenscale/data/cluster_sizes.h"

#include <algorithm>
#include <cmath>

#include "eigenscale/core/errors.h"

namespace eigenscale {

ClusterSizes::ClusterSizes(std::int64_t samples, std::int64_t clusters, const std::string& rule,
                           double outlier_share)
    : samples_(samples), clusters_(clusters), inliers_(samples) {
  if (!(outlier_share >= 0 && outlier_share < 1)) {
    throw OptionError("outliers is a share of the samples, 0 or more and below 1, not " +
                      std::to_string(outlier_share));
  }
  if (rule != "equal" && rule != "harmonic") {
    throw OptionError("sizes '" + rule + "' is unknown; known are equal and harmonic");
  }
  inliers_ -= std::llround(outlier_share * static_cast<double>(samples));
  if (inliers_ < clusters) {
    throw OptionError("samples (" + std::to_string(samples) +
                      (outliers() > 0 ? ", less " + std::to_string(outliers()) + " outliers" : "") +
                      ") must be at least as many as clusters (" + std::to_string(clusters) + ")");
  }
  if (rule == "equal") {
    return;
  }
  double all = 0;
  for (std::int64_t k = 1; k <= clusters; ++k) {
    all += 1 / static_cast<double>(k);
  }
  double sum = 0;
  for (std::int64_t k = 1; k < clusters; ++k) {
    sum += 1 / static_cast<double>(k);
    ends_.push_back(std::llround(static_cast<double>(inliers_) * sum / all));
  }
  ends_.push_back(inliers_);
  for (std::int64_t k = 0; k < clusters; ++k) {
    if (ends_[k] == (k == 0 ? 0 : ends_[k - 1])) {
      throw OptionError("samples (" + std::to_string(samples) + ") are too few for " +
                        std::to_string(clusters) +
                        " clusters of harmonic sizes: some would be empty");
    }
  }
}

std::int64_t ClusterSizes::label(std::int64_t position) const {
  if (position >= inliers_) {
    return -1;
  }
  if (ends_.empty()) {
    return position % clusters_;
  }
  return std::ranges::upper_bound(ends_, position) - ends_.begin();
}

}  // namespace eigenscale
