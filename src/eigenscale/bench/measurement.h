#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "eigenscale/bench/bench_options.h"
#include "eigenscale/bench/benchmark.h"

namespace eigenscale {

/// What one contender took.
struct Measurement {
  std::int64_t calls = 1;       ///< in a turn
  std::vector<double> seconds;  ///< of one call, of the slowest rank, for every turn
  std::optional<double> error;  ///< with --check
};

/// [collective] Barrier, time, barrier around every turn; contenders take turns, every other round
/// in reverse. NumericalError (agreed) when a checked result is off by more than its bound.
std::vector<Measurement> measure(const Communicator& world,
                                 const std::vector<Contender>& contenders,
                                 const BenchOptions& options);

/// [local] FLOP (where stated, else bytes) a second in one turn.
double rate(const Contender& contender, double seconds);

/// [local] What share of its limit a contender reached in turn `turn`; none where there is no
/// limit.
std::optional<double> fraction_of_limit(const std::vector<Contender>& contenders,
                                        const std::vector<Measurement>& measurements,
                                        std::size_t which, std::size_t turn);

/// [local] The middle value, the mean of the two middle ones for an even number.
double median(std::vector<double> values);

}  // namespace eigenscale
