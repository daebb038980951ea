#pragma once

#include <string>

#include "eigenscale/core/format.h"

namespace eigenscale {

/// Sets up the one logger of the process: to standard error, `level` one of trace, debug, info,
/// warning, error, off. Rank 0 speaks; other ranks are silent below `error`. Throws OptionError
/// for an unknown level.
void start_log(const std::string& level, int rank);

/// [local] A line of that level.
void log_info(const std::string& text);
void log_warning(const std::string& text);
void log_error(const std::string& text);

/// [local] The same, of a pattern: log_info("{} samples", 5).
template <typename First, typename... Others>
void log_info(PatternFor<First, Others...> pattern, const First& first, const Others&... others) {
  log_info(format_text<First, Others...>(pattern, first, others...));
}
template <typename First, typename... Others>
void log_error(PatternFor<First, Others...> pattern, const First& first, const Others&... others) {
  log_error(format_text<First, Others...>(pattern, first, others...));
}

}  // namespace eigenscale
