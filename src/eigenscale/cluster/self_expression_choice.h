#pragma once

#include <cstdint>
#include <string>

#include "eigenscale/cluster/clustering_run.h"

namespace eigenscale {

/// How a run finds the coefficients, from its options and the number of samples.
struct SelfExpressionChoice {
  bool landmarks = false;  ///< the subspace model carries labels of landmarks to all rows
  bool codes = false;      ///< of all rows on landmarks
  bool closed_form = false;
  std::int64_t count = 0;  ///< m
  std::string reason;      ///< to be printed
};

/// Up to here --self-expression auto takes coefficients over all N.
constexpr std::int64_t kFullSamples = 5000;

/// [local] OptionError, InputError for what does not go together.
SelfExpressionChoice choose_self_expression(const ClusteringRunOptions& options,
                                            std::int64_t samples);

}  // namespace eigenscale
