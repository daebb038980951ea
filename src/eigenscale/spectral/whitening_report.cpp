#include "eigenscale/spectral/whitening_report.h"

#include <algorithm>

#include "eigenscale/core/number_text.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/report/html_report.h"
#include "eigenscale/report/png.h"
#include "eigenscale/report/svg_plot.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kPictures = 24;
constexpr std::int64_t kPicturesPerRow = 8;

/// The leading components, count x D, on all ranks: a handful.
torch::Tensor some_components(const WhiteningTransform& transform, std::int64_t count) {
  const auto& layout = transform.components.layout();
  const auto& all = layout.grid->all();
  const RowPartition partition(layout.rows, all.size());
  const auto own = to_row_blocks(transform.components, partition).narrow(1, 0, count).contiguous();
  auto whole = torch::empty({layout.rows, count}, torch::kFloat64);
  all.all_gather(whole, own, partition.counts());
  return whole;
}

/// Images side by side, grey from most negative (black) to most positive (white) entry of each.
torch::Tensor contact_sheet(torch::Tensor components, const std::vector<std::int64_t>& shape) {
  const std::int64_t height = shape[shape.size() - 2];
  const std::int64_t width = shape.back();
  // Of several channels the mean.
  auto images = components.view({components.size(0), -1, height, width}).mean(1);
  const auto largest = images.abs().amax({1, 2}, true).clamp_min(1e-300);
  images = torch::constant_pad_nd(images / largest * 127 + 128, {0, 2, 0, 2}, 255);
  const std::int64_t rows = (images.size(0) + kPicturesPerRow - 1) / kPicturesPerRow;
  const auto missing = torch::full({rows * kPicturesPerRow - images.size(0), height + 2, width + 2},
                                   255, torch::kFloat64);
  return torch::cat({images, missing})
      .view({rows, kPicturesPerRow, height + 2, width + 2})
      .permute({0, 2, 1, 3})
      .reshape({rows * (height + 2), kPicturesPerRow * (width + 2)})
      .clamp(0, 255)
      .to(torch::kUInt8);
}

std::vector<double> numbers(const torch::Tensor& tensor) {
  const auto values = tensor.to(torch::kFloat64).contiguous();
  return {values.data_ptr<double>(), values.data_ptr<double>() + values.numel()};
}

}  // namespace

torch::Tensor whole_components(const WhiteningTransform& transform) {
  return some_components(transform, transform.components.layout().columns);
}

std::string whitening_report(const WhiteningTransform& transform, double total_variance,
                             const std::vector<std::int64_t>& image_shape,
                             const nlohmann::json& summary) {
  HtmlReport page("eigenscale-whiten", summary["choices"]["samples"].dump() + " samples of " +
                                           summary["choices"]["features"].dump() + " features");
  const auto& values = transform.eigenvalues;
  const auto explained = values.cumsum(0) / std::max(total_variance, 1e-300);
  page.add_figure(std::to_string(values.numel()), "components");
  page.add_figure(short_number(100 * explained[-1].item<double>()) + " %", "of the variance");
  page.add_figure(short_number(summary["choices"]["epsilon"].get<double>()), "epsilon");
  for (const auto& [name, value] : summary["metrics"].items()) {
    page.add_figure(short_number(value.get<double>()), name);
  }
  for (const auto& warning : summary["warnings"]) {
    page.add_warning(warning.get<std::string>());
  }
  Series spectrum{"eigenvalue", numbers(torch::arange(1, values.numel() + 1)), numbers(values)};
  Series noise{"epsilon",
               {1.0, static_cast<double>(values.numel())},
               std::vector<double>(2, summary["choices"]["epsilon"].get<double>())};
  page.add_section("Spectrum",
                   "Variance along each principal component. Components below epsilon are damped "
                   "instead of blown up.",
                   svg_plot({spectrum, noise},
                            {.x_label = "component", .y_label = "eigenvalue", .log_y = true}));
  page.add_section("Explained variance",
                   "Share of the variance that the leading components hold together.",
                   svg_plot({{"explained", spectrum.x, numbers(explained)}},
                            {.x_label = "components", .y_label = "share"}));
  if (image_shape.size() >= 2) {
    const auto count = std::min(kPictures, transform.components.layout().columns);
    const auto components = some_components(transform, count).t().contiguous();
    page.add_section("Leading components", "As images, row by row from the first on; grey is zero.",
                     "<img style=\"width:100%;image-rendering:pixelated\" alt=\"leading "
                     "components\" src=\"" +
                         png_data_uri(contact_sheet(components, image_shape)) + "\">");
  }
  return page.html();
}

}  // namespace eigenscale
