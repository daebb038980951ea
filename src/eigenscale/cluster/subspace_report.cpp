#include "eigenscale/cluster/subspace_report.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/cluster/subspace_assignment.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/format.h"
#include "eigenscale/report/html_report.h"
#include "eigenscale/report/png.h"
#include "eigenscale/report/svg_plot.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kBins = 4000;
constexpr std::int64_t kDrawnBins = 80;
constexpr std::int64_t kDrawnRows = 4000;
constexpr std::int64_t kDrawnSpectra = 8;
constexpr std::int64_t kDrawnCurves = 8;

/// Where a share of the rows lies below, by bins.
double quantile(const ResidualHistogram& histogram, double share) {
  double total = 0;
  for (const double count : histogram.counts) {
    total += count;
  }
  double below = 0;
  for (std::size_t bin = 0; bin < histogram.counts.size(); ++bin) {
    below += histogram.counts[bin];
    if (below >= share * total) {
      return histogram.largest * static_cast<double>(bin + 1) / static_cast<double>(kBins);
    }
  }
  return histogram.largest;
}

/// x, y and label of a few rows, on rank 0: each is drawn between the corners of its clusters, the
/// nearer the smaller its residual to a cluster's subspace.
torch::Tensor disc_points(const Communicator& world, const RowPartition& partition,
                          const RowProvider& rows, const torch::Tensor& bases, double objective,
                          std::uint64_t seed) {
  const std::int64_t clusters = bases.size(0);
  const auto drawn =
      draw_rows(partition.rows(), std::min(kDrawnRows, partition.rows()), seed, "drawn rows");
  std::vector<std::vector<std::int64_t>> wanted(world.size());
  wanted[0] = drawn;
  const auto unit = exchange_rows(world, partition, rows, wanted, bases.scalar_type());
  const std::int64_t count = unit.size(0);
  const auto labels = torch::empty({count}, torch::kInt64);
  const auto projections = torch::empty({count, clusters}, torch::kFloat32);
  SubspaceAssigner(bases).assign(unit, 0,
                                 {labels, torch::empty({count}, torch::kFloat32), projections});
  const auto residuals = (1 - projections).clamp_min(0).to(torch::kFloat64);
  auto weights = (residuals + 0.1 * objective + 1e-6).pow(-2);
  weights = weights / weights.sum(1, true);
  const auto angle = torch::arange(clusters, torch::kFloat64) *
                     (2 * std::numbers::pi / static_cast<double>(clusters));
  return torch::cat({weights.matmul(torch::stack({angle.cos(), angle.sin()}, 1)),
                     labels.to(torch::kFloat64).unsqueeze(1)},
                    1);
}

std::vector<double> column(const torch::Tensor& table, std::int64_t index) {
  const auto values = table.select(1, index).contiguous();
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

void add_subspace_ablation(HtmlReport& page,
                           const std::map<std::string, ClusteringMetrics>& metrics) {
  const std::vector<std::pair<std::string, std::string>> names = {
      {"", "result"},
      {"landmarks_alone", "labels of the landmarks carried on, nothing refined"},
      {"random_start", "the model refined from random subspaces"},
      {"kmeans_baseline", "k-means on the raw data"}};
  std::vector<std::vector<std::string>> rows = {{"", "accuracy", "NMI", "ARI"}};
  for (const auto& [key, name] : names) {
    if (const auto found = metrics.find(key); found != metrics.end()) {
      rows.push_back({name, format_text("{:.4f}", found->second.accuracy),
                      format_text("{:.4f}", found->second.nmi),
                      format_text("{:.4f}", found->second.ari)});
    }
  }
  if (rows.size() > 1) {
    page.add_table("What each part contributes",
                   "Against the reference labels; all lines but the result on a fixed sample of at "
                   "most 100,000 rows. If random subspaces are as good, self-expression was not "
                   "needed here.",
                   rows);
  }
}

void add_residuals(HtmlReport& page, const ResidualHistogram& histogram) {
  Series series;
  for (std::int64_t bin = 0; bin < kDrawnBins; ++bin) {
    double rows = 0;
    for (std::int64_t i = 0; i < kBins / kDrawnBins; ++i) {
      rows += histogram.counts[bin * (kBins / kDrawnBins) + i];
    }
    series.x.push_back(histogram.largest * (static_cast<double>(bin) + 0.5) /
                       static_cast<double>(kDrawnBins));
    series.y.push_back(rows);
  }
  page.add_section(
      "Residuals",
      "Squared distance of each unit row to its subspace: how sure a label is. " +
          std::to_string(histogram.suspected_outliers) +
          " rows lie far beyond the bulk, right of the dashed line: they may belong to none of the "
          "subspaces.",
      svg_plot({series}, {.x_label = "residual",
                          .y_label = "rows",
                          .log_y = true,
                          .mark = histogram.bound,
                          .mark_text = histogram.bound < histogram.largest ? "suspected" : ""}));
}

void add_pictures(HtmlReport& page, const SubspacePictures& pictures) {
  const auto picture = [](const torch::Tensor& pixels) {
    return "<img class='pixels' alt='' style='width:820px' src='" + png_data_uri(pixels) + "'>";
  };
  if (pictures.residuals.defined()) {
    page.add_section("Surest and least sure images",
                     "Above some with the smallest residuals, below those with the largest, which "
                     "may belong to none of the clusters.",
                     picture(pictures.residuals));
  }
  if (pictures.directions.defined()) {
    page.add_section("Leading directions",
                     "One row per cluster: what its images are mixed of, the strongest first. Grey "
                     "is zero.",
                     picture(pictures.directions));
  }
}

void add_model(HtmlReport& page, const SubspaceFindings& findings) {
  const auto& model = *findings.model;
  const auto sizes = findings.labelling->sizes;
  std::vector<std::vector<std::string>> rows = {{"cluster", "rows", "rows when fitted"}};
  for (std::int64_t k = 0; k < model.clusters(); ++k) {
    rows.push_back({std::to_string(k), std::to_string(sizes[k].item<std::int64_t>()),
                    std::to_string(model.sizes[k].item<std::int64_t>())});
  }
  page.add_table("Sizes of the clusters", "", rows);
  std::vector<Series> spectra;
  for (std::int64_t k = 0; k < std::min(kDrawnSpectra, model.clusters()); ++k) {
    Series series{"cluster " + std::to_string(k), {}, {}};
    const std::int64_t shown = std::min(model.spectra.size(1), 2 * model.bases.size(2) + 4);
    for (std::int64_t i = 0; i < shown; ++i) {
      series.x.push_back(static_cast<double>(i + 1));
      series.y.push_back(std::max(model.spectra[k][i].item<double>(), 1e-16));
    }
    spectra.push_back(series);
  }
  page.add_section(
      "Spectra of the subspaces",
      "Share of its rows' energy along each leading direction of a cluster. A cliff at "
      "the dashed line says that the dimension is what the data show.",
      svg_plot(spectra, {.x_label = "direction",
                         .y_label = "energy",
                         .log_y = true,
                         .mark = static_cast<double>(model.bases.size(2)) + 0.5,
                         .mark_text = "s = " + std::to_string(model.bases.size(2))}));
}

/// Those that are farthest from a straight line.
void add_curves(HtmlReport& page, const FeatureCurves& curves) {
  if (!curves.defined()) {
    return;
  }
  const std::int64_t last = curves.knots.size(1) - 1;
  const auto from_first = [&](const torch::Tensor& table) {
    const auto first = table.narrow(1, 0, 1);
    return (table - first) / (table.narrow(1, last, 1) - first).clamp_min(1e-300);
  };
  const auto share = from_first(curves.knots);
  const auto constant = curves.slopes.amax(1) == 0;
  const auto bent = (from_first(curves.values) - share).abs().amax(1).masked_fill(constant, 0);
  const auto order = std::get<1>(bent.sort(/*stable=*/true, 0, /*descending=*/true));
  std::vector<Series> drawn;
  for (std::int64_t i = 0; i < std::min(kDrawnCurves, curves.features()); ++i) {
    const auto feature = order[i].item<std::int64_t>();
    drawn.push_back({"feature " + std::to_string(feature), column(share.t(), feature),
                     column(curves.values.t(), feature)});
  }
  page.add_section("Curves of features",
                   "What was learned to make subspaces straight: the features farthest from a "
                   "straight line, each from its smallest to its largest value.",
                   svg_plot(drawn, {.x_label = "share of the feature's range",
                                    .y_label = "standard deviations"}));
}

void add_search(HtmlReport& page, const SubspaceFindings& findings) {
  if (findings.passes != nullptr) {
    Series objective;
    Series changed;
    for (const auto& pass : *findings.passes) {
      objective.x.push_back(static_cast<double>(pass.pass));
      objective.y.push_back(pass.objective);
      changed.x.push_back(static_cast<double>(pass.pass));
      changed.y.push_back(pass.changed);
    }
    objective.name = "objective";
    changed.name = "share of labels that changed";
    page.add_section("Passes over all rows",
                     "Mean residual after each pass, and the share of the labels that changed.",
                     svg_plot({objective, changed},
                              {.x_label = "pass", .y_label = "", .log_y = true, .points = true}));
  }
  if (findings.landmarks == nullptr) {
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"start", "objective on the common sample"}};
  for (const auto& candidate : findings.landmarks->candidates) {
    rows.push_back({candidate.start, format_text("{:.6g}", candidate.objective)});
  }
  page.add_table(
      "Starts", "Each was refined on its landmarks; the smallest objective won, no label was seen.",
      rows);
  std::vector<Series> trials;
  for (std::size_t draw = 0; draw < findings.landmarks->dimension_choices.size(); ++draw) {
    Series series{"draw " + std::to_string(draw / 2 + 1) +
                      (draw % 2 == 0 ? ", self-expression" : ", cosines"),
                  {},
                  {}};
    for (const auto& trial : findings.landmarks->dimension_choices[draw].trials) {
      series.x.push_back(static_cast<double>(trial.dimension));
      series.y.push_back(std::max(trial.rest, 1e-9));
    }
    trials.push_back(series);
  }
  if (!trials.empty()) {
    page.add_section(
        "Dimension",
        "What is left per dimension that is left out. The first s at which it falls steeply and "
        "after which it does not is taken.",
        svg_plot(trials, {.x_label = "dimension s",
                          .y_label = "objective / (d - s)",
                          .log_y = true,
                          .mark = static_cast<double>(findings.landmarks->dimension),
                          .mark_text = "s = " + std::to_string(findings.landmarks->dimension)}));
  }
}

}  // namespace

ResidualHistogram residual_histogram(const Communicator& world, const torch::Tensor& residuals) {
  ResidualHistogram result;
  result.largest = all_reduce(world, residuals.numel() > 0 ? residuals.max().item<double>() : 0.0,
                              ReduceOp::kMax);
  auto counts = torch::zeros({kBins}, torch::kFloat64);
  auto* count = counts.data_ptr<double>();
  const auto* values = residuals.data_ptr<float>();
  const double scale = result.largest > 0 ? static_cast<double>(kBins) / result.largest : 0;
  const auto bin_of = [&](double value) {
    return std::min(kBins - 1, static_cast<std::int64_t>(value * scale));
  };
  for (std::int64_t i = 0; i < residuals.numel(); ++i) {
    ++count[bin_of(values[i])];
  }
  world.all_reduce(counts);
  result.counts.assign(count, count + kBins);
  const double upper = quantile(result, 0.75);
  // Below 1e-4 there is rounding and nothing else.
  result.bound = std::max(1e-4, upper + 3 * (upper - quantile(result, 0.25)));
  for (std::int64_t bin = 0; bin < kBins; ++bin) {
    if (static_cast<double>(bin) > result.bound * scale) {
      result.suspected_outliers += static_cast<std::int64_t>(count[bin]);
    }
  }
  return result;
}

std::string subspace_report(const Communicator& world, const RowPartition& partition,
                            const RowProvider& rows, const SubspaceFindings& findings,
                            const SubspacePictures& pictures, std::uint64_t seed,
                            const nlohmann::json& summary) {
  const auto& model = *findings.model;
  const auto points =
      disc_points(world, partition, rows, model.bases, findings.labelling->objective, seed);
  if (world.rank() != 0) {
    return "";
  }
  HtmlReport page(
      "Subspace clustering",
      format_text("{} samples in {} subspaces of dimension {}, {} ranks", partition.rows(),
                  model.clusters(), model.bases.size(2), world.size()));
  if (const auto metrics = findings.metrics.find(""); metrics != findings.metrics.end()) {
    page.add_figure(format_text("{:.2f} %", 100 * metrics->second.accuracy), "accuracy");
    page.add_figure(format_text("{:.3f}", metrics->second.nmi), "NMI");
  }
  page.add_figure(format_text("{:.3g}", findings.labelling->objective), "mean residual");
  page.add_figure(format_text("{:.1f} s", summary["seconds"]["total"].get<double>()), "time");
  page.add_figure(
      format_text("{:.0f} MiB", summary["peak_memory_bytes"]["max_rank"].get<double>() / 1048576),
      "memory per rank");
  for (const auto& warning : summary["warnings"]) {
    page.add_warning(warning.get<std::string>());
  }
  add_subspace_ablation(page, findings.metrics);
  std::vector<std::int64_t> labels;
  for (const double label : column(points, 2)) {
    labels.push_back(static_cast<std::int64_t>(label));
  }
  page.add_section("Embedding",
                   "Each corner is a cluster, each dot a row, drawn towards the subspaces it is "
                   "close to. Dots at their own corner are certain; dots inside lie between.",
                   svg_disc(column(points, 0), column(points, 1), labels, model.clusters()));
  add_residuals(page, findings.residuals);
  add_pictures(page, pictures);
  add_model(page, findings);
  add_curves(page, model.curves);
  add_search(page, findings);
  std::vector<std::vector<std::string>> seconds = {{"phase", "seconds"}};
  for (const auto& [phase, value] : summary["seconds"].items()) {
    seconds.push_back({phase, format_text("{:.2f}", value.get<double>())});
  }
  page.add_table("Time", "The slowest rank of each phase.", seconds);
  return page.html();
}

}  // namespace eigenscale
