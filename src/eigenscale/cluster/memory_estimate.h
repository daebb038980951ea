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

}  // namespace eigenscale
