#include "eigenscale/bench/prediction.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "eigenscale/bench/measurement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/format.h"
#include "eigenscale/core/number_text.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/train/gradient_reducer.h"

namespace eigenscale {
namespace {

struct PredictedPhase {
  std::string suite;
  std::string contender;
  std::string size;
  std::size_t numbers;
};

const std::map<std::string, PredictedPhase>& predicted_phases() {
  static const std::map<std::string, PredictedPhase> all = {
      {"train-step", {"train-step", "forward and backward", "BATCHxWIDTH", 2}},
      {"self-expression", {"self-expression", "SelfExpression", "SAMPLESxLATENT", 2}},
      {"subspaces", {"subspaces", "refinement pass", "SAMPLESxFEATURESxCLUSTERSxDIMENSION", 4}}};
  return all;
}

std::vector<nlohmann::json> read_bench_lines(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) {
    throw InputError("--rates: cannot read '" + path.string() + "'");
  }
  std::vector<nlohmann::json> lines;
  std::string text;
  for (int number = 1; std::getline(file, text); ++number) {
    try {
      lines.push_back(nlohmann::json::parse(text));
      if (lines.back().at("schema_version") != 1 || !(lines.back().at("seconds") > 0)) {
        throw InputError("--rates: '" + path.string() + "' line " + std::to_string(number) +
                         " is of another version, or has no positive seconds");
      }
    } catch (const nlohmann::json::exception& error) {
      throw InputError("--rates: '" + path.string() + "' line " + std::to_string(number) +
                       " is no line of eigenscale-bench: " + error.what());
    }
  }
  return lines;
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

std::string what_takes_most(const PhaseCost& cost, const MachineRates& rates, std::int64_t ranks) {
  const std::vector<std::pair<double, std::string>> parts = {
      {cost.flop / rates.flop, "computation"},
      {rates.disk > 0 ? cost.read / rates.disk : 0, "reading"},
      {ranks > 1 ? travel_seconds(cost, rates) : 0, "bandwidth"},
      {ranks > 1 ? cost.messages * rates.latency * std::ceil(std::log2(static_cast<double>(ranks)))
                 : 0,
       "latency"}};
  return std::ranges::max(parts).second;
}

/// One step of the perceptron of the suite train-step.
PhaseCost perceptron_step_cost(std::int64_t batch, std::int64_t width, std::int64_t ranks) {
  constexpr std::int64_t kFeatures = 784;
  constexpr std::int64_t kClasses = 10;
  const std::int64_t weights = width * (kFeatures + width + kClasses);
  // As backward reaches them: bias and weights of each layer from the last on.
  const std::vector<std::int64_t> bytes = {4 * kClasses, 4 * width * kClasses,
                                           4 * width,    4 * width * width,
                                           4 * width,    4 * width * kFeatures};
  const auto buckets = parameters_of_buckets(bytes, {});
  return training_step_cost({.batch = batch,
                             .parameters = weights + 2 * width + kClasses,
                             // No gradient with respect to the input.
                             .flop_per_sample = 2.0 * static_cast<double>(weights) -
                                                2.0 / 3 * static_cast<double>(width * kFeatures),
                             .bytes_per_sample = 4 * kFeatures,
                             .buckets = std::ssize(buckets),
                             .last_bucket_bytes = static_cast<double>(std::accumulate(
                                 bytes.end() - buckets.back(), bytes.end(), std::int64_t{0})),
                             .ranks = ranks});
}

}  // namespace

void PredictionOptions::validate() const {
  const auto found = predicted_phases().find(phase);
  if (found == predicted_phases().end()) {
    std::string known;
    for (const auto& [name, ignored] : predicted_phases()) {
      known += (known.empty() ? "" : ", ") + name;
    }
    throw OptionError("--predict is '" + phase + "'; expected one of " + known);
  }
  if (size.size() != found->second.numbers) {
    throw OptionError("--size has " + std::to_string(size.size()) + " numbers; --predict " + phase +
                      " expects " + found->second.size);
  }
  if (ranks.empty() || rates.empty()) {
    throw OptionError(
        "--predict needs --ranks, such as 1,2,4, and --rates, lines of "
        "eigenscale-bench --suite " +
        found->second.suite);
  }
}

PhaseCost cost_of(const PredictionOptions& options, std::int64_t ranks) {
  const auto& size = options.size;
  if (options.phase == "self-expression") {
    const auto [rows, columns] = ProcessGrid::squarest(static_cast<int>(ranks));
    return self_expression_step_cost(
        {.samples = size[0], .latent = size[1], .grid_rows = rows, .grid_columns = columns});
  }
  if (options.phase == "subspaces") {
    return refinement_pass_cost({.samples = size[0],
                                 .features = size[1],
                                 .clusters = size[2],
                                 .dimension = size[3],
                                 .ranks = ranks});
  }
  return perceptron_step_cost(size[0], size[1], ranks);
}

MachineRates read_rates(const PredictionOptions& options) {
  const auto& phase = predicted_phases().at(options.phase);
  std::vector<double> flop;
  std::int64_t fewest = 0;
  // What the programs call, by name.
  std::map<std::string, ReductionTimes> reductions = {{"all_reduce", {}}, {"start_all_reduce", {}}};
  for (const auto& path : options.rates) {
    for (const auto& line : read_bench_lines(path)) {
      const auto ranks = line.value("ranks", std::int64_t{0});
      if (line.value("suite", "") == phase.suite &&
          line.value("contender", "") == phase.contender && ranks > 0) {
        if (fewest == 0 || ranks < fewest) {
          flop.clear();
          fewest = ranks;
        }
        if (ranks == fewest) {
          flop.push_back(line.at("flop").get<double>() / line.at("seconds").get<double>() /
                         static_cast<double>(ranks));
        }
      } else if (const auto reduction = reductions.find(line.value("contender", ""));
                 reduction != reductions.end()) {
        add_reduction(reduction->second, line);
      }
    }
  }
  if (flop.empty()) {
    throw InputError("--rates: no line of '" + phase.contender +
                     "'; add what eigenscale-bench --suite " + phase.suite + " prints");
  }
  MachineRates rates{.flop = median(std::move(flop)), .disk = options.disk};
  if (std::ranges::max(options.ranks) == 1) {
    return rates;
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
  return rates;
}

std::string predict(const PredictionOptions& options) {
  const auto rates = read_rates(options);
  std::string text = format_text("{}, {}; {:.3g} GFLOP/s a rank", options.phase,
                                 joined(options.size, " x "), 1e-9 * rates.flop);
  if (rates.bandwidth > 0) {
    text += format_text(", {:.3g} GB/s a link, {:.3g} us a collective of two",
                        1e-9 * rates.bandwidth, 1e6 * rates.latency);
  }
  text += format_text("\n{:>7} {:>11} {:>12} {:>13} {:>10} {:>10} {:>14} {:>12}  {}\n", "ranks",
                      "seconds", "computation", "communication", "reading", "efficiency",
                      "memory a rank", "MB a link", "most");
  double base = 0;
  for (const auto ranks : options.ranks) {
    const auto cost = cost_of(options, ranks);
    const double seconds = predicted_seconds(cost, rates, ranks);
    const double compute = cost.flop / rates.flop;
    const double reading = rates.disk > 0 ? cost.read / rates.disk : 0;
    base = base > 0 ? base : seconds * static_cast<double>(ranks);
    text += format_text(
        "{:>7} {:>11.4g} {:>12.4g} {:>13.4g} {:>10.4g} {:>10.2f} {:>14} {:>12.4g}  {}\n", ranks,
        seconds, compute, seconds - compute - reading, reading,
        base / (seconds * static_cast<double>(ranks)), bytes_text(cost.memory),
        1e-6 * (cost.wire + cost.wire_later), what_takes_most(cost, rates, ranks));
  }
  return text;
}

}  // namespace eigenscale
