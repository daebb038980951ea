#include "eigenscale/bench/prediction.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>

#include "eigenscale/bench/cost_model.h"
#include "eigenscale/bench/measured_rates.h"
#include "eigenscale/bench/measurement.h"
#include "eigenscale/bench/whitening_prediction.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/format.h"
#include "eigenscale/core/number_text.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/train/gradient_reducer.h"

namespace eigenscale {
namespace {

struct PredictedPhase {
  std::string suite;
  std::string contender;  ///< none for what has phases of its own
  std::string size;
  std::size_t numbers;
  std::size_t most_numbers;
};

const std::map<std::string, PredictedPhase>& predicted_phases() {
  static const std::map<std::string, PredictedPhase> all = {
      {"train-step", {"train-step", "forward and backward", "BATCHxWIDTH", 2, 2}},
      {"self-expression", {"self-expression", "SelfExpression", "SAMPLESxLATENT", 2, 2}},
      {"subspaces", {"subspaces", "refinement pass", "SAMPLESxFEATURESxCLUSTERSxDIMENSION", 4, 4}},
      {"whiten", {"whiten", "", "SAMPLESxFEATURES[xCOMPONENTS]", 2, 3}}};
  return all;
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

/// FLOP/s of a rank: the median over lines of the phase's contender on the fewest ranks.
double computation_rate(const std::vector<nlohmann::json>& lines, const PredictedPhase& phase) {
  std::vector<double> flop;
  std::int64_t fewest = 0;
  for (const auto& line : lines) {
    const auto ranks = line.value("ranks", std::int64_t{0});
    if (line.value("suite", "") != phase.suite || line.value("contender", "") != phase.contender ||
        ranks < 1) {
      continue;
    }
    if (fewest == 0 || ranks < fewest) {
      flop.clear();
      fewest = ranks;
    }
    if (ranks == fewest) {
      flop.push_back(line.at("flop").get<double>() / line.at("seconds").get<double>() /
                     static_cast<double>(ranks));
    }
  }
  if (flop.empty()) {
    throw InputError("--rates: no line of '" + phase.contender +
                     "'; add what eigenscale-bench --suite " + phase.suite + " prints");
  }
  return median(std::move(flop));
}

/// What is predicted from what.
struct Basis {
  MachineRates rates;  ///< of the links, and of what has one phase
  WhiteningRates whitening;
  std::string text;
};

Basis read_basis(const PredictionOptions& options) {
  const auto lines = read_measurements(options.rates);
  Basis basis;
  basis.rates.disk = options.disk;
  basis.text = options.phase + ", " + joined(options.size, " x ") + "; ";
  const bool linked = std::ranges::max(options.ranks) > 1;
  if (linked) {
    add_link_rates(lines, basis.rates);
  }
  if (options.phase == "whiten") {
    auto& whitening = basis.whitening = whitening_rates(lines, basis.rates);
    if (options.disk > 0) {
      whitening.rate["read"] = whitening.rate["write"] = options.disk;
    }
    basis.text += whitening_text(whitening);
  } else {
    basis.rates.flop = computation_rate(lines, predicted_phases().at(options.phase));
    basis.text += format_text("{:.3g} GFLOP/s a rank", 1e-9 * basis.rates.flop);
  }
  if (linked) {
    basis.text += format_text(", {:.3g} GB/s a link, {:.3g} us a collective of two",
                              1e-9 * basis.rates.bandwidth, 1e6 * basis.rates.latency);
  }
  return basis;
}

struct PredictedRow {
  std::string phase;
  PhaseCost cost;
  PhaseTime time;
};

std::vector<PredictedRow> predicted_rows(const PredictionOptions& options, const Basis& basis,
                                         std::int64_t ranks) {
  if (options.phase != "whiten") {
    const auto cost = cost_of(options, ranks);
    return {{options.phase, cost, predicted_time(cost, basis.rates, ranks)}};
  }
  const auto& size = options.size;
  std::vector<PredictedRow> rows;
  PredictedRow total{.phase = "total", .cost = {}, .time = {}};
  const WhiteningSize whitening = {.samples = size[0],
                                   .features = size[1],
                                   .components = size.size() > 2 ? size[2] : 0,
                                   .ranks = ranks};
  for (const auto& [phase, cost] : whitening_costs(whitening, basis.whitening.way)) {
    const auto time = predicted_time(
        cost, whitening_phase_rates(basis.whitening, phase, whitening, basis.rates), ranks);
    rows.push_back({phase, cost, time});
    total.time += time;
    total.cost.bytes += cost.bytes;
    total.cost.messages += cost.messages;
    total.cost.wire += cost.wire;
    total.cost.memory = std::max(total.cost.memory, cost.memory);  // one phase behind the other
  }
  rows.push_back(total);
  return rows;
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
  if (size.size() < found->second.numbers || size.size() > found->second.most_numbers) {
    throw OptionError("--size has " + std::to_string(size.size()) + " numbers; --predict " + phase +
                      " expects " + found->second.size);
  }
  if (std::ranges::min(size) < 1 || (!ranks.empty() && std::ranges::min(ranks) < 1)) {
    throw OptionError("--size and --ranks are to hold numbers of at least 1");
  }
  if (ranks.empty() || rates.empty()) {
    throw OptionError(
        "--predict needs --ranks, such as 1,2,4, and --rates, lines of "
        "eigenscale-bench --suite " +
        found->second.suite);
  }
}

std::string predict(const PredictionOptions& options) {
  const auto basis = read_basis(options);
  auto text =
      basis.text + format_text(
                       "\n{:>7}  {:<16}{:>10} {:>12} {:>14} {:>10} {:>11} {:>14} {:>11} {:>9} "
                       "{:>10}  {}\n",
                       "ranks", "phase", "seconds", "computation", "communication", "files",
                       "efficiency", "memory a rank", "MB handed", "messages", "MB a link", "most");
  std::map<std::string, double> base;  // rank seconds on the first number of ranks
  for (const auto ranks : options.ranks) {
    for (const auto& [phase, cost, time] : predicted_rows(options, basis, ranks)) {
      const double spent = time.total() * static_cast<double>(ranks);
      const double first = base.try_emplace(phase, spent).first->second;
      text += format_text(
          "{:>7}  {:<16}{:>10.4g} {:>12.4g} {:>14.4g} {:>10.4g} {:>11.2f} {:>14} {:>11.4g} "
          "{:>9.0f} {:>10.4g}  {}\n",
          ranks, phase, time.total(), time.computation, time.communication(), time.files,
          spent > 0 ? first / spent : 1, bytes_text(cost.memory), 1e-6 * cost.bytes, cost.messages,
          1e-6 * (cost.wire + cost.wire_later), time.most());
    }
  }
  return text;
}

}  // namespace eigenscale
