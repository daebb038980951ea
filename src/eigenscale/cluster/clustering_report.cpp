#include "eigenscale/cluster/clustering_report.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <numbers>

#include "eigenscale/cluster/discretization.h"
#include "eigenscale/cluster/row_exchange.h"
#include "eigenscale/core/number_text.h"
#include "eigenscale/report/html_report.h"
#include "eigenscale/report/png.h"
#include "eigenscale/report/svg_plot.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kDiscPoints = 4000;
constexpr std::int64_t kImageClusters = 40;
constexpr std::int64_t kImagesPerCluster = 12;

std::string fixed(double value, const char* pattern) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), pattern, value);
  return text.data();
}

std::vector<double> to_vector(const torch::Tensor& values) {
  const auto flat = values.to(torch::kFloat64).contiguous();
  return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
}

Series numbered(const std::string& name, const std::vector<double>& y) {
  Series series{name, {}, y};
  for (std::size_t i = 0; i < y.size(); ++i) {
    series.x.push_back(static_cast<double>(i + 1));
  }
  return series;
}

std::string image(const torch::Tensor& pixels, std::int64_t width) {
  return "<img class='pixels' alt='' style='width:" + std::to_string(width) + "px' src='" +
         png_data_uri(pixels) + "'>";
}

/// White to dark blue, the square root lifting what is faint.
torch::Tensor heat(const torch::Tensor& values) {
  const double largest = values.max().item<double>();
  const auto level =
      (largest > 0 ? values / largest : values).clamp(0, 1).sqrt().to(torch::kFloat32).unsqueeze(2);
  const auto light = torch::tensor({250.0, 252.0, 255.0}, torch::kFloat32);
  const auto dark = torch::tensor({8.0, 48.0, 107.0}, torch::kFloat32);
  return (light + level * (dark - light)).round().to(torch::kUInt8);
}

/// Where each of a few evenly chosen samples lies between the corners of the clusters: its squared
/// cosine to each cluster's mean direction is the weight of that corner.
struct Disc {
  std::vector<double> x, y;
  std::vector<std::int64_t> labels;
};

Disc disc(const Communicator& world, const RowPartition& partition, const ClusteringResult& result,
          std::int64_t clusters) {
  const auto unit = normalize_rows(result.embedding);
  auto means = torch::zeros({clusters, unit.size(1)}, torch::kFloat64);
  means.index_add_(0, result.labels, unit);
  world.all_reduce(means);
  auto weights = unit.matmul(normalize_rows(means).t()).clamp_min(0).square();
  weights = weights / weights.sum(1, true).clamp_min(1e-12);
  const auto angle = torch::arange(clusters, torch::kFloat64) *
                     (2 * std::numbers::pi / static_cast<double>(clusters));
  const auto corners = torch::stack({angle.cos(), angle.sin()}, 1);
  const auto own =
      torch::cat({weights.matmul(corners), result.labels.to(torch::kFloat64).unsqueeze(1)}, 1);

  const std::int64_t count = std::min(kDiscPoints, partition.rows());
  std::vector<std::int64_t> chosen;
  for (std::int64_t i = 0; i < count; ++i) {
    chosen.push_back(i * partition.rows() / count);
  }
  const auto points = fetch_rows(world, partition, own.contiguous(), chosen);
  Disc result_disc{to_vector(points.select(1, 0)), to_vector(points.select(1, 1)), {}};
  for (const double label : to_vector(points.select(1, 2))) {
    result_disc.labels.push_back(static_cast<std::int64_t>(label));
  }
  return result_disc;
}

/// The first members of each cluster, a row of images per cluster; empty when samples are no
/// images.
torch::Tensor sample_images(const Communicator& world, const Samples& samples,
                            const ClusteringOptions& options, const ClusteringResult& result) {
  auto shape = options.settings.image_shape;
  if (shape.empty() && samples.shape.size() == 2) {
    shape = {1, samples.shape[0], samples.shape[1]};
  }
  if (shape.size() != 3 || (shape[0] != 1 && shape[0] != 3)) {
    return {};
  }
  const std::int64_t clusters = std::min(kImageClusters, options.clusters);
  auto labels = torch::empty({samples.partition.rows()}, torch::kInt64);
  world.all_gather(labels, result.labels, samples.partition.counts());
  std::vector<std::int64_t> members;
  for (std::int64_t cluster = 0; cluster < clusters; ++cluster) {
    const auto found = (labels == cluster).nonzero().flatten();
    for (std::int64_t i = 0; i < kImagesPerCluster; ++i) {
      members.push_back(i < found.numel() ? found[i].item<std::int64_t>() : -1);  // -1: left white
    }
  }
  auto images = fetch_rows(world, samples.partition, samples.rows.flatten(1), members)
                    .to(torch::kFloat64)
                    .reshape({clusters, kImagesPerCluster, shape[0], shape[1], shape[2]});
  const auto missing = torch::tensor(members, torch::kInt64).reshape({clusters, -1}) < 0;
  images = images * (255 / std::max(images.max().item<double>(), 1e-12));
  images.index_put_({missing}, 255.0);
  // clusters x count x C x H x W to (clusters H) x (count W) [x C], a pixel between images.
  images = torch::constant_pad_nd(images.clamp(0, 255), {0, 1, 0, 1}, 255)
               .permute({0, 3, 1, 4, 2})
               .reshape({clusters * (shape[1] + 1), kImagesPerCluster * (shape[2] + 1), shape[0]});
  return shape[0] == 1 ? images.squeeze(2) : images;
}

void add_curves(HtmlReport& page, const ClusteringHistory& history) {
  if (!history.epochs.empty()) {
    std::map<std::int64_t, Series> curves;
    const auto stride = static_cast<std::int64_t>(history.epochs.size() / 1000 + 1);
    for (const auto& epoch : history.epochs) {
      auto& curve = curves[epoch.initialization];
      curve.name = "initialisation " + std::to_string(epoch.initialization + 1);
      if (epoch.epoch % stride == 1 % stride) {
        curve.x.push_back(static_cast<double>(epoch.epoch));
        curve.y.push_back(epoch.rmse);
      }
    }
    std::vector<Series> series;
    for (const auto& [initialization, curve] : curves) {
      series.push_back(curve);
    }
    page.add_section("Pre-training",
                     "Reconstruction error of the autoencoder, in units of the input. It should "
                     "fall and then rest; a curve that rests only at the start has not learnt. "
                     "Of several initialisations only the leading one goes on.",
                     svg_plot(series, {.x_label = "epoch", .y_label = "RMSE", .log_y = true}));
  }
  if (!history.steps.empty()) {
    Series reconstruction{"reconstruction", {}, {}};
    Series self{"self-expression", {}, {}};
    Series penalty{"coefficients", {}, {}};
    for (const auto& step : history.steps) {
      for (auto* series : {&reconstruction, &self, &penalty}) {
        series->x.push_back(static_cast<double>(step.step));
      }
      reconstruction.y.push_back(step.reconstruction);
      self.y.push_back(step.self_expression);
      penalty.y.push_back(step.coefficient_penalty);
    }
    page.add_section(
        "Fine-tuning",
        "The terms of the loss. Self-expression should fall while the coefficients grow.",
        svg_plot({reconstruction, self, penalty},
                 {.x_label = "step", .y_label = "loss", .log_y = true}));
  }
}

void add_ablation(HtmlReport& page, const std::map<std::string, ClusteringMetrics>& metrics) {
  const std::vector<std::pair<std::string, std::string>> names = {
      {"", "result"},
      {"without_post_processing", "the same coefficients without post-processing"},
      {"shallow_baseline_latents", "closed form on the pre-trained latents"},
      {"shallow_baseline", "closed form on the raw data"},
      {"kmeans_baseline", "k-means on the raw data"}};
  std::vector<std::vector<std::string>> rows = {{"", "accuracy", "NMI", "ARI"}};
  for (const auto& [key, name] : names) {
    if (const auto found = metrics.find(key); found != metrics.end()) {
      rows.push_back({name, fixed(found->second.accuracy, "%.4f"), fixed(found->second.nmi, "%.4f"),
                      fixed(found->second.ari, "%.4f")});
    }
  }
  page.add_table("What each part contributes",
                 "Accuracy is the share of samples under the best one-to-one match of clusters to "
                 "reference labels. If a simpler row is as good, the deep part did not help here.",
                 rows);
}

void add_spectra(HtmlReport& page, const ClusteringOptions& options,
                 const ClusteringResult& result) {
  if (result.latent_singular_values.defined()) {
    page.add_section(
        "Singular values of the latents",
        "Of the features that express each other. A cliff after the first few means that the "
        "latent space has collapsed and the coefficients mean little.",
        svg_plot({numbered("", to_vector(result.latent_singular_values))},
                 {.x_label = "index", .y_label = "singular value", .log_y = true}));
  }
  page.add_section(
      "Eigenvalue gap",
      "Leading eigenvalues of the normalised affinity. A drop right at the dashed line says that "
      "the number of clusters asked for is what the affinity shows.",
      svg_plot({numbered("", to_vector(result.eigenvalues))},
               {.x_label = "index",
                .y_label = "eigenvalue",
                .points = true,
                .mark = static_cast<double>(options.clusters) + 0.5,
                .mark_text = "K = " + std::to_string(options.clusters)}));
}

}  // namespace

std::string clustering_report(const Communicator& world, const Samples& samples,
                              const ClusteringOptions& options, const ClusteringResult& result,
                              const ClusteringHistory& history, const nlohmann::json& summary) {
  const auto points = disc(world, samples.partition, result, options.clusters);
  const auto images = sample_images(world, samples, options, result);
  if (world.rank() != 0) {
    return "";
  }
  HtmlReport page("Subspace clustering", count_text(samples.partition.rows()) + " samples in " +
                                             std::to_string(options.clusters) + " clusters, " +
                                             std::to_string(world.size()) + " ranks");
  if (const auto metrics = result.metrics.find(""); metrics != result.metrics.end()) {
    page.add_figure(fixed(100 * metrics->second.accuracy, "%.1f %%"), "accuracy");
    page.add_figure(fixed(metrics->second.nmi, "%.3f"), "NMI");
    page.add_figure(fixed(metrics->second.ari, "%.3f"), "ARI");
  }
  page.add_figure(duration_text(summary["seconds"]["total"].get<double>()), "time");
  page.add_figure(
      fixed(summary["peak_memory_bytes"]["max_rank"].get<double>() / 1048576, "%.0f MiB"),
      "memory per rank");
  for (const auto& warning : summary["warnings"]) {
    page.add_warning(warning.get<std::string>());
  }
  if (!result.metrics.empty()) {
    add_ablation(page, result.metrics);
  }
  page.add_section("Embedding",
                   "Each corner is a cluster, each dot a sample, drawn towards the clusters it is "
                   "close to. Dots at their own corner are certain; dots inside lie between.",
                   svg_disc(points.x, points.y, points.labels, options.clusters));
  page.add_section("Affinity in cluster order",
                   "Dark blocks along the diagonal are clusters that hold together; dark spots off "
                   "it are clusters that could be one.",
                   image(heat(result.affinity_picture), 520));
  if (images.defined()) {
    page.add_section("Samples by cluster",
                     "One row per cluster, in the order of their numbers (the first " +
                         std::to_string(kImageClusters) + "): a row should show one thing.",
                     image(images, std::min<std::int64_t>(820, images.size(1) * 2)));
  }
  add_spectra(page, options, result);
  add_curves(page, history);
  std::vector<std::vector<std::string>> seconds = {{"phase", "time"}};
  for (const auto& [phase, value] : summary["seconds"].items()) {
    seconds.push_back({phase, duration_text(value.get<double>())});
  }
  page.add_table("Time", "The slowest rank of each phase.", seconds);
  return page.html();
}

}  // namespace eigenscale
