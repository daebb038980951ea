#include "eigenscale/compress/compression_report.h"

#include <algorithm>

#include "eigenscale/core/format.h"
#include "eigenscale/core/number_text.h"
#include "eigenscale/report/html_report.h"
#include "eigenscale/report/svg_plot.h"

namespace eigenscale {
namespace {

using Json = nlohmann::json;
using Rows = std::vector<std::vector<std::string>>;

Rows comparison(const Json& after) {
  const auto& before = after["before"];
  Rows rows = {{"", "before", "after", "after / before"}};
  const auto add = [&](const char* name, double a, double b, const std::string& unit) {
    rows.push_back({name, short_number(a) + unit, short_number(b) + unit,
                    a > 0 ? format_text("{:.3f}", b / a) : "-"});
  };
  const auto both = [&](const char* name, const char* key, double factor, const char* unit) {
    add(name, factor * before[key].get<double>(), factor * after[key].get<double>(), unit);
  };
  both("parameters", "parameters", 1, "");
  both("arithmetic of a sample", "flops", 1e-6, " MFLOP");
  both("size in memory", "bytes", 1.0 / 1024, " KiB");
  if (after.contains("accuracy")) {
    both("accuracy", "accuracy", 100, " %");
    both("loss", "loss", 1, "");
  }
  for (const auto& [batch, seconds] : after["latency"].items()) {
    const auto name = "forward pass of " + batch + (batch == "1" ? " sample" : " samples");
    add(name.c_str(), 1e3 * before["latency"][batch].get<double>(), 1e3 * seconds.get<double>(),
        " ms");
  }
  return rows;
}

}  // namespace

std::string compression_report(const std::string& model, const Json& summary) {
  const auto& metrics = summary["metrics"];
  HtmlReport report("Compression of " + model, format_text("eigenscale-compress {} on {} ranks",
                                                           summary["version"].get<std::string>(),
                                                           summary["ranks"].get<int>()));
  for (const auto& warning : summary["warnings"]) {
    report.add_warning(warning.get<std::string>());
  }
  const double share = metrics["parameters"].get<double>() /
                       std::max(1.0, metrics["before"]["parameters"].get<double>());
  report.add_figure(format_text("{:.1f} %", 100 * (1 - share)), "of the parameters are gone");
  if (metrics.contains("accuracy")) {
    report.add_figure(format_text("{:.2f} %", 100 * metrics["accuracy"].get<double>()),
                      format_text("accuracy; {:.2f} % before",
                                  100 * metrics["before"]["accuracy"].get<double>()));
  }
  report.add_table("Before and after",
                   format_text("Forward passes in evaluation mode, medians on {} threads.",
                               summary["choices"]["threads"].get<int>()),
                   comparison(metrics));
  Rows neurons = {{"layer", "neurons", "kept"}};
  for (const auto& layer : metrics["layers"]) {
    neurons.push_back(
        {layer["name"].get<std::string>(), layer["neurons"].dump(), layer["kept"].dump()});
  }
  report.add_table("Neurons",
                   format_text("Taking them out changed the outputs by {:.2g} of the largest.",
                               metrics["difference"]["removal"].get<double>()),
                   neurons);
  if (!metrics["ranks"].empty()) {
    Rows ranks = {{"layer", "full rank", "rank", ""}};
    for (const auto& layer : metrics["ranks"]) {
      ranks.push_back({layer["name"].get<std::string>(), layer["full"].dump(), layer["rank"].dump(),
                       layer["factorized"].get<bool>() ? "two layers" : "as it was"});
    }
    report.add_table(
        "Ranks",
        format_text("The smallest rank that holds the wanted share of the squared singular values; "
                    "factorising changed the outputs by {:.2g} of the largest.",
                    metrics["difference"]["factorization"].get<double>()),
        ranks);
  }
  return report.html();
}

}  // namespace eigenscale
