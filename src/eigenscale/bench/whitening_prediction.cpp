#include "eigenscale/bench/whitening_prediction.h"

#include <algorithm>
#include <iterator>

#include "eigenscale/bench/measurement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/format.h"
#include "eigenscale/linalg/eigen_backends.h"
#include "eigenscale/spectral/krylov_pca.h"

namespace eigenscale {
namespace {

/// Whether one of so many ranks solves the eigenproblem for all.
bool one_rank_solves(const WhiteningSize& size) {
  const double share = size.components > 0 ? static_cast<double>(size.components) /
                                                 static_cast<double>(size.features)
                                           : 1;
  return one_rank_is_faster(size.features, share, size.ranks);
}

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
        .one_rank = one_rank_solves(size)};
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
    costs.push_back({"eigenproblem", whitening_eigenproblem_cost(problem(way.product_bytes))});
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
  // Whitened rows; in double the transform, or what a zca of few components has in its place. Ranks
  // of one host take turns at a file: the kernel lets one write at a time.
  const std::int64_t saved = way.zca && way.low_rank ? size.components : width;
  const std::int64_t written = size.samples * way.value_bytes * width + 8 * size.features * saved;
  const std::int64_t writers = size.ranks > 2 ? size.ranks : 1;
  costs.push_back({"write", {.read = static_cast<double>(written) / static_cast<double>(writers)}});
  return costs;
}

namespace {

using PhaseRates = std::map<std::string, double>;

/// FLOP/s or bytes/s of a rank by number of ranks and phase: medians. What the links take of a
/// phase by the model is no computation.
std::map<std::int64_t, PhaseRates> rates_by_ranks(const std::vector<MeasuredWhitening>& measured,
                                                  const MachineRates& links) {
  std::map<std::int64_t, std::map<std::string, std::vector<double>>> all;
  for (const auto& one : measured) {
    for (const auto& [phase, cost] : whitening_costs(one.size, one.way)) {
      if (const auto found = one.seconds.find(phase); found != one.seconds.end()) {
        PhaseCost sent = cost;
        sent.flop = 0;
        const double amount = is_file_phase(phase) ? cost.read : cost.flop;
        const double waited =
            links.bandwidth > 0 ? predicted_time(sent, links, one.size.ranks).communication() : 0;
        all[one.size.ranks][phase].push_back(amount / std::max(found->second - waited, 1e-9));
      }
    }
  }
  std::map<std::int64_t, PhaseRates> result;
  for (auto& [ranks, phases] : all) {
    for (auto& [phase, values] : phases) {
      result[ranks][phase] = median(std::move(values));
    }
  }
  return result;
}

/// What a rank among more keeps of the rate that it has among the fewest, where both were measured.
std::map<std::int64_t, PhaseRates> kept_rates(const std::vector<MeasuredWhitening>& measured,
                                              std::int64_t fewest, const MachineRates& links) {
  auto rates = rates_by_ranks(measured, links);
  if (!rates.contains(fewest)) {
    return {};
  }
  std::erase_if(rates, [&](const auto& entry) { return entry.first < fewest; });
  const auto alone = rates.extract(rates.begin()).mapped();
  for (auto& [ranks, phases] : rates) {
    std::erase_if(phases, [&](const auto& entry) { return !alone.contains(entry.first); });
    for (auto& [phase, rate] : phases) {
      // No rank computes faster in company but one that solves on the cores of all.
      auto size = measured.front().size;
      size.ranks = ranks;
      const bool borrows = phase == "eigenproblem" && one_rank_solves(size);
      rate = std::min(rate / alone.at(phase), borrows ? static_cast<double>(ranks) : 1);
    }
  }
  return rates;
}

std::vector<MeasuredWhitening> measured_whitening(const std::vector<nlohmann::json>& lines,
                                                  bool runs) {
  std::vector<MeasuredWhitening> measured;
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
  return measured;
}

}  // namespace

WhiteningRates whitening_rates(const std::vector<nlohmann::json>& lines,
                               const MachineRates& links) {
  const auto of_runs = measured_whitening(lines, true);
  const auto of_bench = measured_whitening(lines, false);
  const auto& measured = of_runs.empty() ? of_bench : of_runs;
  WhiteningRates result;
  std::int64_t fewest = 0;
  if (!measured.empty()) {
    const auto ranks = [](const auto& one) { return one.size.ranks; };
    fewest = ranks(std::ranges::min(measured, {}, ranks));
    std::vector<MeasuredWhitening> basis;
    std::ranges::copy_if(measured, std::back_inserter(basis),
                         [&](const auto& one) { return one.size.ranks == fewest; });
    result.way = basis.back().way;
    result.rate = rates_by_ranks(basis, {})[fewest];
    result.source = std::to_string(basis.size()) + (of_runs.empty() ? " lines on " : " runs on ") +
                    std::to_string(fewest) + (fewest == 1 ? " rank" : " ranks");
  }
  for (const auto& [phase, ignored] : whitening_costs({.samples = 1, .features = 1}, result.way)) {
    if (!result.rate.contains(phase) && !is_file_phase(phase)) {
      throw InputError("--rates: nothing says how fast '" + phase +
                       "' is; give the directory or study.jsonl of a run of eigenscale-whiten on "
                       "one rank, or what eigenscale-bench --suite whiten prints");
    }
  }
  result.kept = kept_rates(of_runs, fewest, links);
  return result;
}

MachineRates whitening_phase_rates(const WhiteningRates& rates, const std::string& phase,
                                   const WhiteningSize& size, const MachineRates& links) {
  auto result = links;
  const auto found = rates.rate.find(phase);
  double rate = found == rates.rate.end() ? 0 : found->second;
  // As among the most ranks that were measured, but not more than these.
  for (auto kept = rates.kept.rbegin(); kept != rates.kept.rend(); ++kept) {
    const auto& [ranks, shares] = *kept;
    auto measured = size;
    measured.ranks = ranks;
    const bool alike =
        phase != "eigenproblem" || one_rank_solves(measured) == one_rank_solves(size);
    if (ranks <= size.ranks && shares.contains(phase) && alike) {
      rate *= shares.at(phase);
      break;
    }
  }
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
  for (const auto& [ranks, shares] : rates.kept) {
    text += format_text(", of which a rank among {} keeps", ranks);
    for (const auto& [phase, share] : shares) {
      text += format_text(" {} {:.2f}", phase, share);
    }
  }
  return text;
}

}  // namespace eigenscale
