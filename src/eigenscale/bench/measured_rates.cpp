#include "eigenscale/bench/measured_rates.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "eigenscale/bench/measurement.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

/// A line of eigenscale-bench says seconds of a call, one of a run seconds by phase.
void check_measurement(const nlohmann::json& line) {
  const auto& seconds = line.at("seconds");
  if (line.at("schema_version") != 1 ||
      !(seconds.is_object() ? seconds.at("total") > 0 : seconds > 0)) {
    throw InputError("is of another version, or has no positive seconds");
  }
}

void read_lines(const std::filesystem::path& path, std::vector<nlohmann::json>& lines) {
  std::error_code ignored;
  const bool run = std::filesystem::is_directory(path, ignored);
  const auto name = run ? path / "summary.json" : path;
  std::ifstream file(name);
  if (!file) {
    throw InputError("--rates: cannot read '" + name.string() + "'");
  }
  std::string text;
  for (int number = 1; std::getline(file, text, run ? '\0' : '\n'); ++number) {
    const auto where = "--rates: '" + name.string() + "' line " + std::to_string(number) + " ";
    try {
      lines.push_back(nlohmann::json::parse(text));
      check_measurement(lines.back());
    } catch (const nlohmann::json::exception& error) {
      throw InputError(where + "is no line of eigenscale-bench or of a study: " + error.what());
    } catch (const InputError& error) {
      throw InputError(where + error.what());
    }
  }
}

/// Seconds of an all-reduce by bytes, of the most ranks there are.
struct ReductionTimes {
  std::int64_t ranks = 0;
  std::map<double, std::vector<double>> seconds;

  double shortest() const { return median(seconds.begin()->second); }
  /// Bytes a second of a rank's link, from what the largest takes more than the smallest.
  double bandwidth() const {
    const double longest = median(seconds.rbegin()->second);
    return all_reduce_wire(seconds.rbegin()->first - seconds.begin()->first, ranks) /
           std::max(longest - shortest(), 1e-3 * longest);
  }
};

void add_reduction(ReductionTimes& times, const nlohmann::json& line) {
  const auto ranks = line.at("ranks").get<std::int64_t>();
  if (ranks < 2 || ranks < times.ranks) {
    return;
  }
  if (ranks > times.ranks) {
    times = {ranks, {}};
  }
  times.seconds[line.at("bytes").get<double>()].push_back(line.at("seconds").get<double>());
}

}  // namespace

std::vector<nlohmann::json> read_measurements(const std::vector<std::filesystem::path>& paths) {
  std::vector<nlohmann::json> lines;
  for (const auto& path : paths) {
    read_lines(path, lines);
  }
  return lines;
}

void add_link_rates(const std::vector<nlohmann::json>& lines, MachineRates& rates) {
  // What the programs call, by name.
  std::map<std::string, ReductionTimes> reductions = {{"all_reduce", {}}, {"start_all_reduce", {}}};
  for (const auto& line : lines) {
    if (const auto found = reductions.find(line.value("contender", ""));
        found != reductions.end()) {
      add_reduction(found->second, line);
    }
  }
  for (const auto& [name, times] : reductions) {
    if (times.seconds.size() < 2) {
      throw InputError("--rates: no lines of '" + name +
                       "' in two sizes on two ranks or more; add what mpirun -np 2 "
                       "eigenscale-bench --suite allreduce prints");
    }
  }
  const auto& blocking = reductions.at("all_reduce");
  rates.latency = blocking.shortest() / std::ceil(std::log2(static_cast<double>(blocking.ranks)));
  rates.bandwidth = blocking.bandwidth();
  rates.bandwidth_later = reductions.at("start_all_reduce").bandwidth();
}

}  // namespace eigenscale
