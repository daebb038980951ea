#pragma once

#include <memory>

#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/spectral/proximal.h"

namespace eigenscale {

/// [collective over the grid] `singular_value_threshold` of a matrix that every rank has whole, for
/// one too large to decompose on one rank: W f(W^T W) with f(l) = max(1 - threshold / sqrt(l), 0),
/// through the distributed eigenproblem of the smaller Gram matrix, whose parts alone are in
/// double. Squaring costs digits: singular values below 1e-8 of the largest are noise, which a
/// threshold above that removes.
LowRankMatrix distributed_singular_value_threshold(const torch::Tensor& matrix, double threshold,
                                                   const std::shared_ptr<const ProcessGrid>& grid);

}  // namespace eigenscale
