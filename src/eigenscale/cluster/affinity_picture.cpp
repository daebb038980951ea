#include "eigenscale/cluster/affinity_picture.h"

#include <algorithm>

namespace eigenscale {

torch::Tensor affinity_picture(const DistributedMatrix& affinity, const torch::Tensor& labels,
                               std::int64_t cells) {
  const std::int64_t samples = labels.numel();
  cells = std::min(cells, samples);
  // The cell of every sample: its place in cluster order, scaled down.
  const auto order = std::get<1>(labels.sort(true, 0, false));
  auto cell = torch::empty_like(labels);
  cell.index_put_({order}, torch::floor_divide(torch::arange(samples) * cells, samples));

  const auto& layout = affinity.layout();
  auto by_row = torch::zeros({cells, affinity.local().size(1)}, torch::kFloat64);
  by_row.index_add_(0, cell.index_select(0, layout.global_rows()),
                    affinity.local().to(torch::kFloat64));
  auto sums = torch::zeros({cells, cells}, torch::kFloat64);
  sums.index_add_(1, cell.index_select(0, layout.global_columns()), by_row);
  layout.grid->all().all_reduce(sums);
  const auto members = torch::bincount(cell, {}, cells).to(torch::kFloat64);
  return sums / (members.unsqueeze(1) * members.unsqueeze(0));
}

}  // namespace eigenscale
