#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "eigenscale/bench/bench_options.h"
#include "eigenscale/bench/measurement.h"

namespace eigenscale {

/// [local] What all lines of a run have in common: schema version, program, version, commit, host,
/// library versions, ranks, threads, suite.
nlohmann::json bench_frame(const Communicator& world, const std::string& suite);

/// [local] One line for each contender and turn: the frame, contender, size, repeat, calls,
/// seconds, flop, bytes, limit (contender, unit, rate), fraction, check (error, bound).
std::vector<nlohmann::json> bench_lines(const nlohmann::json& frame, const Suite& suite,
                                        const Suite::Size& size,
                                        const std::vector<Contender>& contenders,
                                        const std::vector<Measurement>& measurements);

/// [collective] Measures every size: JSON lines on standard output and one line for people a
/// contender on standard error, both from rank 0. Returns the lines, on rank 0 alone, and the
/// median seconds of each contender and size ("all_reduce 4096") on all ranks in `seconds`.
std::vector<nlohmann::json> run_bench(const Communicator& world, const BenchOptions& options,
                                      nlohmann::json& seconds);

}  // namespace eigenscale
