#pragma once

#include <torch/torch.h>

#include "eigenscale/cluster/clustering_snapshots.h"
#include "eigenscale/cluster/pipeline.h"
#include "eigenscale/cluster/run_rows.h"
#include "eigenscale/report/run.h"

namespace eigenscale {

/// [collective] Trains the coefficients of the first draw's m landmarks together with the encoder
/// `clustering.network` (Ji et al., NeurIPS 2017), and notes it in the snapshots: returns the
/// labels that they give this rank's block of the landmarks, which lie as a RowPartition of m says.
/// OptionError (agreed) where the coefficients do not fit into memory.
torch::Tensor fine_tune_on_landmarks(const Communicator& world, Run& run,
                                     ClusteringSnapshots& snapshots, const RunRows& rows,
                                     ClusteringOptions clustering, std::int64_t landmarks);

}  // namespace eigenscale
