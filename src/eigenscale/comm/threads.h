#pragma once

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// [collective] Shares the cores of each host among its ranks: torch and OpenBLAS get as many
/// threads as a rank has cores, unless OMP_NUM_THREADS says otherwise. Both would take every core
/// in every rank, and waiting threads spin.
void share_cores(const Communicator& world);

}  // namespace eigenscale
