#include "eigenscale/bench/bench_options.h"

#include <charconv>
#include <sstream>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

std::string suite_list() {
  std::string text;
  for (const auto& suite : suites()) {
    text += (text.empty() ? "" : ", ") + suite.name + " (" + suite.purpose + ")";
  }
  return text;
}

std::string shape_of(const Suite& suite) {
  std::string text;
  for (const auto& dimension : suite.dimensions) {
    text += (text.empty() ? "" : "x") + dimension;
  }
  return text;
}

/// 400x80,1440x3840
std::vector<Suite::Size> parse_sizes(const std::string& text) {
  std::vector<Suite::Size> result;
  std::istringstream list(text);
  std::string item;
  while (std::getline(list, item, ',')) {
    auto& size = result.emplace_back();
    const char* next = item.data();
    const char* const end = next + item.size();
    while (true) {
      std::int64_t value = 0;
      const auto [stop, error] = std::from_chars(next, end, value);
      if (error != std::errc() || value < 1 || (stop != end && *stop != 'x')) {
        throw OptionError("--size has '" + item + "'; expected sizes such as 1000 or 400x80");
      }
      size.push_back(value);
      if (stop == end) {
        break;
      }
      next = stop + 1;
    }
  }
  return result;
}

}  // namespace

void BenchOptions::validate() {
  const Suite& known = find_suite(suite);
  if (sizes.empty()) {
    sizes = known.sizes;
  }
  for (const auto& size : sizes) {
    if (size.size() != known.dimensions.size()) {
      throw OptionError("--size has a size of " + std::to_string(size.size()) + " numbers; suite " +
                        suite + " expects " + shape_of(known));
    }
  }
  if (repeats < 1) {
    throw OptionError("--repeats is " + std::to_string(repeats) + "; expected at least 1");
  }
  if (warm_up < 0) {
    throw OptionError("--warm-up is " + std::to_string(warm_up) + "; expected at least 0");
  }
  if (!(turn_seconds >= 0)) {
    throw OptionError("--turn-seconds is negative or not a number; expected at least 0");
  }
}

void add_bench_options(ProgramOptions& options) {
  const BenchOptions defaults;
  // clang-format off
  options.group("Measurement")
      ("suite", text(), suite_list().c_str())
      ("size", text(), "sizes, such as 400x80,1440x3840; without it the suite's")
      ("repeats", whole(1)->default_value(defaults.repeats), "turns that are measured")
      ("warm-up", whole(0)->default_value(defaults.warm_up), "turns before them")
      ("turn-seconds", real(0)->default_value(defaults.turn_seconds, "0.004"),
       "a turn is as many calls as take about so long")
      ("check", flag(), "verify results; a wrong one ends with 4")
      ("overwrite", flag(), "replace a finished run in --output");
  // clang-format on
}

BenchOptions bench_options(const ProgramOptions& options) {
  BenchOptions result;
  result.suite = options.get<std::string>("suite");
  if (options.has("size")) {
    result.sizes = parse_sizes(options.get<std::string>("size"));
  }
  result.repeats = options.get<std::int64_t>("repeats");
  result.warm_up = options.get<std::int64_t>("warm-up");
  result.turn_seconds = options.get<double>("turn-seconds");
  result.check = options.get<bool>("check");
  result.validate();
  return result;
}

}  // namespace eigenscale
