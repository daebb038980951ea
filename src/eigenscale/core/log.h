#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace eigenscale {

/// Sets up the one logger of the process: to standard error, `level` one of trace, debug, info,
/// warning, error, off. Rank 0 speaks; other ranks are silent below `error`. Throws OptionError
/// for an unknown level. Use spdlog::info and its siblings afterwards.
void start_log(const std::string& level, int rank);

}  // namespace eigenscale
