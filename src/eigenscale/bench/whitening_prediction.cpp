#include "eigenscale/bench/whitening_prediction.h"

#include <algorithm>
#include <limits>

#include "eigenscale/bench/measurement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/format.h"
#include "eigenscale/linalg/eigen_backends.h"
#include "eigenscale/spectral/krylov_pca.h"

namespace eigenscale {
namespace {

bool is_file_phase(const std::string& phase) { return phase == "read" || phase == "write"; }

/// The contenders of the suite whiten that do what floats and zca need, by phase.
const std::map<std::string, std::string>& whiten_phases() {
  static const std::map<std::string, std::string> all = {{"mean", "mean"},
                                                         {"covariance of floats", "covariance"},
                                                         {"transform", "eigenproblem"},
                                                         {"application of floats", "transform"}};
  return all;
}

struct MeasuredWhitening {
  WhiteningSize size;
  WhiteningWay way;
  std::map<std::string, double> seconds;
};

std::int64_t bytes_of(const nlohmann::json& type) { return type == "double" ? 8 : 4; }

MeasuredWhitening of_run(const nlohmann::json& line) {
  const auto& choices = line.at("choices");
  MeasuredWhitening run;
  run.size = {.samples = choices.at("samples").get<std::int64_t>(),
              .features = choices.at("features").get<std::int64_t>(),
              .components = choices.at("components").get<std::int64_t>(),
              .ranks = line.at("ranks").get<std::int64_t>()};
  run.way.zca = choices.at("method") == "zca";
  run.way.low_rank = !choices.contains("covariance");
  run.way.value_bytes = bytes_of(choices.at("precision"));
  run.way.product_bytes = bytes_of(choices.at("product"));
  run.way.covariance_bytes = bytes_of(choices.value("covariance", "float"));
  if (run.way.low_rank) {
    run.way.passes = std::stoll(choices.at("solver").get<std::string>());  // "5 passes of ..."
  }
  run.seconds = line.at("seconds").get<std::map<std::string, double>>();
  return run;
}

bool is_run(const nlohmann::json& line) {
  // A run by another's transform finds none.
  return line.value("program", "") == "eigenscale-whiten" &&
         line.value("choices", nlohmann::json::object()).contains("solver");
}

bool is_bench_line(const nlohmann::json& line) {
  return line.value("suite", "") == "whiten" &&
         whiten_phases().contains(line.value("contender", ""));
}

MeasuredWhitening of_bench_line(const nlohmann::json& line) {
  MeasuredWhitening one;
  one.size = {.samples = line.at("size").at("samples").get<std::int64_t>(),
              .features = line.at("size").at("features").get<std::int64_t>(),
              .ranks = line.at("ranks").get<std::int64_t>()};
  one.seconds = {{whiten_phases().at(line.at("contender").get<std::string>()),
                  line.at("seconds").get<double>()}};
  return one;
}

}  // namespace

std::vector<NamedCost> whitening_costs(const WhiteningSize& size, const WhiteningWay& way) {
  const auto problem = [&](std::int64_t value_bytes) {
    return WhiteningProblem{
        .samples = size.samples,
        .features = size.features,
        .components = size.components,
        .ranks = size.ranks,
        .value_bytes = value_bytes,
        .piece_rows = whitening_piece_rows(size.features, way.value_bytes, way.low_rank),
        .zca = way.zca,
        .one_rank = one_rank_is_faster(size.features, size.ranks)};
  };
  std::vector<NamedCost> costs = {{"mean", whitening_mean_cost(problem(way.value_bytes))}};
  if (way.low_rank) {
    costs.push_back({"components", krylov_components_cost(
                                       {.whitening = problem(way.value_bytes),
                                        .width = size.components + KrylovPcaOptions{}.oversampling,
                                        .passes = way.passes})});
    costs.push_back({"transform", krylov_application_cost(problem(way.product_bytes))});
  } else {
    costs.push_back({"covariance", whitening_covariance_cost(problem(way.covariance_bytes))});
    costs.push_back({"eigenproblem", whitening_eigenproblem_cost(problem(way.value_bytes))});
    costs.push_back({"transform", whitening_application_cost(problem(way.product_bytes))});
  }
  // Files are walked through once for the mean, once for the transform.
  const std::int64_t passes = 2 + (way.low_rank ? way.passes : 1);
  const std::int64_t row_bytes = (size.samples + size.ranks - 1) / size.ranks * way.value_bytes;
  for (auto& [phase, cost] : costs) {
    cost.read = 0;  // timed apart
  }
  const std::int64_t width = way.zca || size.components == 0 ? size.features : size.components;
  costs.push_back({"read", {.read = static_cast<double>(passes * row_bytes * size.features)}});
  costs.push_back({"write", {.read = static_cast<double>(row_bytes * width)}});
  return costs;
}

WhiteningRates whitening_rates(const std::vector<nlohmann::json>& lines) {
  std::vector<MeasuredWhitening> measured;
  const bool runs = std::ranges::any_of(lines, is_run);
  for (const auto& line : lines) {
    try {
      if (runs ? is_run(line) : is_bench_line(line)) {
        measured.push_back(runs ? of_run(line) : of_bench_line(line));
      }
    } catch (const std::exception& error) {
      throw InputError("--rates: a run of eigenscale-whiten, or line of its suite, is damaged: " +
                       std::string(error.what()));
    }
  }
  std::int64_t fewest = std::numeric_limits<std::int64_t>::max();
  for (const auto& one : measured) {
    fewest = std::min(fewest, one.size.ranks);
  }
  std::erase_if(measured, [&](const auto& one) { return one.size.ranks > fewest; });
  WhiteningRates result;
  std::map<std::string, std::vector<double>> rates;
  for (const auto& one : measured) {
    result.way = one.way;
    for (const auto& [phase, cost] : whitening_costs(one.size, one.way)) {
      if (const auto found = one.seconds.find(phase); found != one.seconds.end()) {
        const double amount = is_file_phase(phase) ? cost.read : cost.flop;
        rates[phase].push_back(amount / std::max(found->second, 1e-9));
      }
    }
  }
  for (auto& [phase, values] : rates) {
    result.rate[phase] = median(std::move(values));
  }
  for (const auto& [phase, ignored] : whitening_costs({.samples = 1, .features = 1}, result.way)) {
    if (!result.rate.contains(phase) && !is_file_phase(phase)) {
      throw InputError("--rates: nothing says how fast '" + phase +
                       "' is; give the directory or study.jsonl of a run of eigenscale-whiten on "
                       "one rank, or what eigenscale-bench --suite whiten prints");
    }
  }
  result.source = std::to_string(measured.size()) + (runs ? " runs on " : " lines on ") +
                  std::to_string(fewest) + (fewest == 1 ? " rank" : " ranks");
  return result;
}

MachineRates whitening_phase_rates(const WhiteningRates& rates, const std::string& phase,
                                   const MachineRates& links) {
  auto result = links;
  const auto found = rates.rate.find(phase);
  const double rate = found == rates.rate.end() ? 0 : found->second;
  (is_file_phase(phase) ? result.disk : result.flop) = rate;
  return result;
}

std::string whitening_text(const WhiteningRates& rates) {
  const auto& way = rates.way;
  auto text =
      std::string(way.value_bytes == 8 ? "double" : "float") + (way.zca ? ", zca, " : ", pca, ") +
      (way.low_rank ? std::to_string(way.passes) + " passes without" : "by") + " the covariance" +
      (way.low_rank || way.covariance_bytes == way.value_bytes ? "" : " in double") + "; from " +
      rates.source + ":";
  for (const auto& [phase, rate] : rates.rate) {
    text +=
        format_text(" {} {:.3g} {}", phase, 1e-9 * rate, is_file_phase(phase) ? "GB/s" : "GFLOP/s");
  }
  return text;
}

}  // namespace eigenscale
