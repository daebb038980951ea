#pragma once

#include <sched.h>

#include <cstddef>
#include <functional>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// [collective] Shares the cores of each host among its ranks: torch and OpenBLAS get as many
/// threads as a rank has cores (of those that its container may use), unless OMP_NUM_THREADS says
/// otherwise. Both would take every core in every rank, and waiting threads spin.
void share_cores(const Communicator& world);

/// [local] The processors in the mask that `get_mask` fills, which fails for masks too small for
/// this machine, as sched_getaffinity does.
int processors_in_mask(const std::function<int(std::size_t, cpu_set_t*)>& get_mask);

}  // namespace eigenscale
