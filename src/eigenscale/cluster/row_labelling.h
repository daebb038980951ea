#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>

#include "eigenscale/comm/placement.h"
#include "eigenscale/data/row_provider.h"

namespace eigenscale {

/// What a model says about the rows of a file.
struct RowLabelling {
  torch::Tensor labels;     ///< this rank's, int64
  torch::Tensor residuals;  ///< this rank's, float32
  torch::Tensor sizes;      ///< rows of each cluster over all ranks, int64; zero rows left out
  double objective = 0;     ///< mean residual
  std::int64_t zero_rows = 0;
};

/// [collective] One pass over this rank's unit rows, lying as `placement` says, that assigns them
/// to the subspaces `bases` (K x d x s) and writes labels.npy (int64, N), residuals.npy (float32,
/// N) and embedding.npy (float32, N x K: squared length of the projection on each subspace) into
/// `directory`, piece by piece. The labels are a function of rows and bases, to the bit, on any
/// number of ranks. InputError, OutputError (agreed).
RowLabelling label_rows(const Placement& placement, const RowProvider& rows,
                        const torch::Tensor& bases, const std::filesystem::path& directory);

}  // namespace eigenscale
