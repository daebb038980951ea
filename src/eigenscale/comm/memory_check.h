#pragma once

#include <functional>
#include <string>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Memory that a piece of work is going to need, beyond what is in use when it is asked for.
struct MemoryNeed {
  /// What needs it, for the message: "47,000 samples with all their coefficients need".
  std::string subject;
  /// Bytes of the fullest of so many ranks; falls with their number.
  std::function<double(std::int64_t ranks)> bytes_of_rank;
  /// Fewer ranks than these cannot do it, however much memory there is.
  std::int64_t least_ranks = 1;
};

/// [collective] Bytes that each rank may still use: the least, over all ranks, of what the machine
/// and its control groups leave, shared among the ranks of a host.
double available_memory_per_rank(const Communicator& world);

/// [local] How many ranks `need` takes where each has `available` bytes; 0 when no number would do.
std::int64_t ranks_that_fit(const MemoryNeed& need, double available, std::int64_t at_least = 1);

/// [collective] OptionError (agreed) when the need does not fit, with bytes needed and there, and
/// the number of ranks that would do; the bytes needed in words otherwise.
std::string require_memory(const Communicator& world, const MemoryNeed& need);

/// [collective] Ranks of this one's host; std::invalid_argument when `world` is not MPI's.
int ranks_on_this_host(const Communicator& world);

}  // namespace eigenscale
