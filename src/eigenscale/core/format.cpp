#include "eigenscale/core/format.h"

#include <spdlog/fmt/fmt.h>

#ifdef SPDLOG_FMT_EXTERNAL
#include <fmt/args.h>
#else
#include <spdlog/fmt/bundled/args.h>
#endif

namespace eigenscale {

std::string format_arguments(std::string_view pattern, const FormatArgument* arguments,
                             std::size_t count) {
  fmt::dynamic_format_arg_store<fmt::format_context> store;
  for (std::size_t i = 0; i < count; ++i) {
    std::visit([&](const auto& value) { store.push_back(value); }, arguments[i]);
  }
  return fmt::vformat(pattern, store);
}

}  // namespace eigenscale
