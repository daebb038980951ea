#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eigenscale/bench/cost_model.h"

namespace eigenscale {

/// [local] What was measured on a machine: the lines of files that eigenscale-bench printed or
/// job-scripts/scaling/study collected, and the summaries of runs, by directory. InputError names
/// the file, and the line that is none of these.
std::vector<nlohmann::json> read_measurements(const std::vector<std::filesystem::path>& paths);

/// [local] Latency and both bandwidths into `rates` from the lines of the suite allreduce, on the
/// most ranks that there are. InputError where such lines are missing; says what to run.
void add_link_rates(const std::vector<nlohmann::json>& lines, MachineRates& rates);

}  // namespace eigenscale
