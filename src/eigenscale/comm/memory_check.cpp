#include "eigenscale/comm/memory_check.h"

#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/memory.h"
#include "eigenscale/core/number_text.h"

namespace eigenscale {

double available_memory_per_rank(const Communicator& world) {
  const double own = static_cast<double>(available_memory_bytes()) / ranks_on_this_host(world);
  return all_reduce(world, own, ReduceOp::kMin);
}

std::int64_t ranks_that_fit(const MemoryNeed& need, double available, std::int64_t at_least) {
  constexpr std::int64_t kMost = std::int64_t{1} << 24;
  const auto fits = [&](std::int64_t ranks) {
    return ranks >= need.least_ranks && need.bytes_of_rank(ranks) <= available;
  };
  std::int64_t high = at_least;
  while (!fits(high)) {
    high *= 2;
    if (high > kMost) {
      return 0;
    }
  }
  std::int64_t low = at_least;
  while (low < high) {
    const std::int64_t middle = (low + high) / 2;
    if (fits(middle)) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return high;
}

std::string require_memory(const Communicator& world, const MemoryNeed& need) {
  const double available = available_memory_per_rank(world);
  const double needed = need.bytes_of_rank(world.size());
  const std::string words =
      need.subject + " " + bytes_text(needed) + " on each of " + std::to_string(world.size()) +
      (world.size() == 1 ? " rank" : " ranks") + "; " + bytes_text(available) + " is there";
  if (needed <= available && world.size() >= need.least_ranks) {
    return words;
  }
  const std::int64_t ranks = ranks_that_fit(need, available, world.size());
  throw Error(ExitCode::kOptions,
              words + ". " +
                  (ranks > 0 ? "With as much for each, " + count_text(ranks) +
                                   " ranks would do (more hosts, or fewer ranks on each)"
                             : "No number of ranks would do"),
              /*agreed=*/true);
}

}  // namespace eigenscale
