#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eigenscale/bench/benchmark.h"
#include "eigenscale/core/options.h"

namespace eigenscale {

/// What eigenscale-bench is asked for.
struct BenchOptions {
  std::string suite;
  std::vector<Suite::Size> sizes;  ///< the suite's own where empty
  std::int64_t repeats = 5;
  std::int64_t warm_up = 1;
  /// A turn is as many calls as take about so long.
  double turn_seconds = 4e-3;
  bool check = false;

  /// [local] OptionError names the option, what was found and what was expected. Fills in the
  /// suite's sizes.
  void validate();
};

/// [local] The options of the program beside those that all programs have.
void add_bench_options(ProgramOptions& options);
/// [local] Their values, validated.
BenchOptions bench_options(const ProgramOptions& options);

}  // namespace eigenscale
