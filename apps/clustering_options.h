#pragma once

#include "eigenscale/cluster/clustering_run.h"
#include "eigenscale/core/options.h"

namespace eigenscale {

/// [local] What the options of eigenscale-cluster ask for. OptionError.
ClusteringRunOptions clustering_options(const ProgramOptions& options);

}  // namespace eigenscale
