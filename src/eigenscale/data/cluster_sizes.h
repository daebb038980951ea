#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace eigenscale {

/// How many of N samples each of K clusters has, the rest being outliers: a rule that gives the
/// label of a position in O(log K), so that nothing of size N is held.
///
///   equal      N / K each, the first N mod K one more; positions take turns
///   harmonic   cluster k (from 1) in proportion to 1 / k; positions of a cluster are neighbours
///
/// Outliers, label -1, are the last round(share x N) positions.
class ClusterSizes {
 public:
  /// [local] OptionError unless `rule` is known, the share in [0, 1) and every cluster non-empty.
  /// There is at least one cluster.
  ClusterSizes(std::int64_t samples, std::int64_t clusters, const std::string& rule,
               double outlier_share);

  std::int64_t label(std::int64_t position) const;
  std::int64_t outliers() const { return samples_ - inliers_; }

 private:
  std::int64_t samples_;
  std::int64_t clusters_;
  std::int64_t inliers_;
  /// harmonic: where each cluster ends; equal: nothing.
  std::vector<std::int64_t> ends_;
};

}  // namespace eigenscale
