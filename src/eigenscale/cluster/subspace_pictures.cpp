#include "eigenscale/cluster/subspace_pictures.h"

#include <algorithm>

#include "eigenscale/cluster/extreme_rows.h"
#include "eigenscale/cluster/landmarks.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kPictureClusters = 40;
constexpr std::int64_t kPicturesPerLine = 16;

bool are_images(const std::vector<std::int64_t>& shape) {
  return shape.size() == 3 && (shape[0] == 1 || shape[0] == 3) && shape[1] > 1 && shape[2] > 1;
}

/// lines x count images (C H W numbers each, 0 .. 255) side by side, a pixel between them.
torch::Tensor tile(const torch::Tensor& images, const std::vector<std::int64_t>& shape) {
  const std::int64_t lines = images.size(0);
  const std::int64_t count = images.size(1);
  const auto padded = torch::constant_pad_nd(
      images.reshape({lines, count, shape[0], shape[1], shape[2]}).clamp(0, 255), {0, 1, 0, 1},
      255);
  const auto picture = padded.permute({0, 3, 1, 4, 2})
                           .reshape({lines * (shape[1] + 1), count * (shape[2] + 1), shape[0]})
                           .to(torch::kUInt8);
  return shape[0] == 1 ? picture.squeeze(2) : picture;
}

}  // namespace

torch::Tensor direction_pictures(const SubspaceModel& model,
                                 const std::vector<std::int64_t>& shape) {
  if (!are_images(shape) || model.encoder || model.curves.defined() ||
      model.row_width() != shape[0] * shape[1] * shape[2]) {
    return {};
  }
  const std::int64_t clusters = std::min(kPictureClusters, model.clusters());
  const std::int64_t count = std::min(kPicturesPerLine, model.bases.size(2));
  const std::int64_t features = model.bases.size(1) - (model.constant != 0 ? 1 : 0);
  auto directions = model.bases.narrow(0, 0, clusters)
                        .narrow(1, 0, features)
                        .narrow(2, 0, count)
                        .permute({0, 2, 1})
                        .to(torch::kFloat64);  // clusters x count x d
  if (model.whitening.defined()) {
    // What the whitening, which is symmetric, makes a leading direction of.
    directions = torch::linalg_solve(model.whitening, directions.transpose(1, 2)).transpose(1, 2);
  }
  if (model.directions.defined()) {
    directions = directions.matmul(model.directions.to(torch::kFloat64).t());
  }
  const auto largest = directions.abs().amax({2}, true).clamp_min(1e-300);
  return tile(127.5 + 127.5 * directions / largest, shape);
}

torch::Tensor residual_pictures(const Communicator& world, const RowPartition& partition,
                                const RowProvider& raw, const torch::Tensor& residuals,
                                const std::vector<std::int64_t>& shape) {
  if (!are_images(shape) || raw.features() != shape[0] * shape[1] * shape[2] ||
      partition.rows() < kPicturesPerLine) {
    return {};
  }
  std::vector<torch::Tensor> lines;
  for (const bool largest : {false, true}) {
    auto indices = extreme_rows(world, partition.range(world.rank()).begin, residuals,
                                kPicturesPerLine, largest);
    std::ranges::sort(indices);
    lines.push_back(exchange_rows(world, partition, raw,
                                  std::vector<std::vector<std::int64_t>>(world.size(), indices),
                                  torch::kFloat64));
  }
  const auto images = torch::stack(lines);
  return tile(images * (255 / std::max(images.max().item<double>(), 1e-300)), shape);
}

}  // namespace eigenscale
