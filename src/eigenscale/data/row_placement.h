#pragma once

#include <cstdint>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Where a rank's rows stand when the rows of all ranks are put behind each other in rank order.
struct RowPlacement {
  std::int64_t first = 0;  ///< rows of the ranks before this one
  std::int64_t total = 0;  ///< rows of all ranks
};

/// [collective]
RowPlacement place_rows(const Communicator& communicator, std::int64_t own_rows);

}  // namespace eigenscale
