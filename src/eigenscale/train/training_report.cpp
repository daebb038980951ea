#include "eigenscale/train/training_report.h"

#include <algorithm>
#include <map>

#include "eigenscale/core/format.h"
#include "eigenscale/core/number_text.h"
#include "eigenscale/report/html_report.h"
#include "eigenscale/report/svg_plot.h"

namespace eigenscale {
namespace {

using Json = nlohmann::json;

Series series(const std::string& name, const std::vector<Json>& lines, const std::string& phase,
              const std::string& x, const std::string& y) {
  Series result{name, {}, {}};
  for (const auto& line : lines) {
    if (line.value("phase", "") == phase && line.contains(y) && line[y].is_number()) {
      result.x.push_back(line[x].get<double>());
      result.y.push_back(line[y].get<double>());
    }
  }
  return result;
}

/// For each layer with neurons a curve of `what` over the epochs, as a share of its neurons.
std::vector<Series> size_curves(const std::vector<Json>& lines, const char* what) {
  std::vector<Series> result;
  std::map<std::string, double> neurons;
  for (const auto& line : lines) {
    if (!line.contains("layers")) {
      continue;
    }
    const auto& layers = line["layers"];
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (!layers[i].contains(what)) {
        continue;
      }
      const auto name = layers[i]["name"].get<std::string>();
      // Those it began with: layers may shrink on the way.
      neurons.emplace(name, layers[i]["neurons"].get<double>());
      auto curve = std::ranges::find(result, name, &Series::name);
      if (curve == result.end()) {
        curve = result.insert(result.end(), Series{name, {}, {}});
      }
      curve->x.push_back(line["epoch"].get<double>());
      curve->y.push_back(layers[i][what].get<double>() / neurons.at(name));
    }
  }
  return result;
}

void add_sizes(HtmlReport& report, const std::vector<Json>& lines) {
  const auto live = size_curves(lines, "live");
  if (!live.empty()) {
    report.add_section("Live neurons", "Share of each layer's neurons that are not zero.",
                       svg_plot(live, {.x_label = "epoch", .y_label = "share"}));
  }
  const auto ranks = size_curves(lines, "rank");
  if (!ranks.empty()) {
    report.add_section("Rank", "Of each layer's weights, as a share of its neurons.",
                       svg_plot(ranks, {.x_label = "epoch", .y_label = "share"}));
  }
}

void add_curves(HtmlReport& report, const std::vector<Json>& lines) {
  auto training = series("training", lines, "epoch", "epoch", "training_loss");
  auto validation = series("validation", lines, "epoch", "epoch", "validation_loss");
  report.add_section(
      "Loss", "Mean cross-entropy at the end of each epoch; logarithmic.",
      svg_plot({training, validation}, {.x_label = "epoch", .y_label = "loss", .log_y = true}));
  auto wrong = series("training", lines, "epoch", "epoch", "training_error");
  auto validation_wrong = series("validation", lines, "epoch", "epoch", "validation_accuracy");
  for (auto& value : validation_wrong.y) {
    value = 1 - value;
  }
  report.add_section("Error", "Share of samples classified wrongly. Training: while it changes.",
                     svg_plot({wrong, validation_wrong}, {.x_label = "epoch", .y_label = "error"}));
  report.add_section("Learning rate", "At the steps that wrote a line of metrics.",
                     svg_plot({series("learning rate", lines, "train", "step", "learning_rate")},
                              {.x_label = "step", .y_label = "learning rate"}));
  report.add_section("Gradient norm", "Of all parameters together, before clipping; logarithmic.",
                     svg_plot({series("gradient norm", lines, "train", "step", "gradient_norm")},
                              {.x_label = "step", .y_label = "norm", .log_y = true}));
  report.add_section("Speed", "Samples of all ranks per second, between lines of metrics.",
                     svg_plot({series("samples/s", lines, "train", "step", "samples_per_second")},
                              {.x_label = "step", .y_label = "samples/s"}));
}

}  // namespace

Json communication_summary(const Json& timers, double alone) {
  const auto per_step = [&](const char* name) {
    const std::string path = std::string("train/step/") + name;
    return timers.contains(path) && timers.contains("train/step")
               ? timers[path]["max"].get<double>() /
                     std::max<double>(1, timers["train/step"]["calls"].get<double>())
               : 0.0;
  };
  if (!timers.contains("train/step")) {
    return Json::object();  // everything was done before this run began
  }
  const double forward = per_step("forward");
  const double backward = per_step("backward");
  return {{"forward", forward},
          {"backward", backward},
          {"exposed", per_step("reduce")},
          {"alone", alone},
          {"bound", forward + std::max(backward, alone)},
          {"step", timers["train/step"]["max"].get<double>() /
                       std::max<double>(1, timers["train/step"]["calls"].get<double>())}};
}

std::string training_report(const std::string& network, const std::vector<Json>& lines,
                            const Json& summary) {
  HtmlReport report("Training of " + network, format_text("eigenscale-train {} on {} ranks",
                                                          summary["version"].get<std::string>(),
                                                          summary["ranks"].get<int>()));
  const auto& metrics = summary["metrics"];
  if (metrics.contains("accuracy")) {
    report.add_figure(format_text("{:.2f} %", 100 * metrics["accuracy"].get<double>()),
                      format_text("validation accuracy, epoch {}",
                                  summary["choices"]["best_epoch"].get<std::int64_t>()));
  }
  report.add_figure(short_number(metrics["parameters"].get<double>()), "parameters");
  report.add_figure(duration_text(summary["seconds"]["total"].get<double>()), "in total");
  for (const auto& warning : summary["warnings"]) {
    report.add_warning(warning.get<std::string>());
  }
  add_sizes(report, lines);
  add_curves(report, lines);
  std::vector<std::vector<std::string>> rows = {{"scope", "calls", "min s", "mean s", "max s"}};
  for (const auto& [path, entry] : summary["timers"].items()) {
    rows.push_back({path, std::to_string(entry["calls"].get<std::int64_t>()),
                    format_text("{:.3f}", entry["min"].get<double>()),
                    format_text("{:.3f}", entry["mean"].get<double>()),
                    format_text("{:.3f}", entry["max"].get<double>())});
  }
  report.add_table("Where the time went", "Seconds of this run, over ranks.", rows);
  return report.html();
}

}  // namespace eigenscale
