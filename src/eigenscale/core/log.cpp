#include "eigenscale/core/log.h"

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "eigenscale/core/errors.h"

namespace eigenscale {

void start_log(const std::string& level, int rank) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off") {
    throw OptionError("--log-level is '" + level +
                      "'; expected trace, debug, info, warning, error or off");
  }
  auto logger = spdlog::get("eigenscale");
  if (!logger) {
    logger = spdlog::stderr_color_mt("eigenscale");
    spdlog::set_default_logger(logger);
  }
  logger->set_pattern(rank == 0 ? "%v" : "rank " + std::to_string(rank) + ": %v");
  logger->set_level(rank == 0 ? parsed : std::max(parsed, spdlog::level::err));
}

void log_info(const std::string& text) { spdlog::info("{}", text); }
void log_warning(const std::string& text) { spdlog::warn("{}", text); }
void log_error(const std::string& text) { spdlog::error("{}", text); }

}  // namespace eigenscale
