#pragma once

#include <torch/torch.h>

#include <cstdint>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/comm/memory_check.h"

namespace eigenscale {

/// [local] What clustering with the coefficients of all N samples on all N needs beside the
/// samples: matrices of N x N in blocks over the ranks (docs/clustering.md). `closed_form`:
/// coefficients that are not trained.
MemoryNeed memory_for_coefficients(std::int64_t samples, bool closed_form,
                                   torch::ScalarType precision);

/// [local] The same of codes of all N samples on m landmarks: rows of N x m over the ranks, and
/// matrices of m x m in blocks.
MemoryNeed memory_for_codes(std::int64_t samples, std::int64_t landmarks,
                            torch::ScalarType precision);

/// [collective] OptionError (agreed) when that does not fit; prints it otherwise.
void require_memory_for_coefficients(const Communicator& world, std::int64_t samples,
                                     bool closed_form, torch::ScalarType precision);

/// Up to so many landmarks one rank solves a start alone, beyond it all ranks share each.
constexpr std::int64_t kLandmarksOfARank = 4096;

/// [local] The same for one start of m landmarks.
MemoryNeed memory_for_landmarks(std::int64_t landmarks);

/// [local] What the leading directions of rows of D features need (leading_directions): matrices of
/// D x D in blocks over the ranks, and the sample.
MemoryNeed memory_for_leading_directions(std::int64_t features);

/// [local] What learning the curves of D features for K clusters needs (learn_feature_curves): the
/// sample on
/// every rank, and what backward keeps of a rank's part of it.
MemoryNeed memory_for_curves(std::int64_t features, std::int64_t clusters);

/// [local] What the whitening of r features needs (feature_whitening): r x r matrices on every
/// rank.
MemoryNeed memory_for_whitening(std::int64_t features);

}  // namespace eigenscale
