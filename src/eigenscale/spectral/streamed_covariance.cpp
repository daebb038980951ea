#include "eigenscale/spectral/streamed_covariance.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "eigenscale/linalg/gram.h"
#include "eigenscale/linalg/redistribute.h"

namespace eigenscale {

FeatureMoments feature_moments(const Communicator& communicator, const RowStream& stream) {
  const std::int64_t features = stream.features();
  auto sum = torch::zeros({features}, torch::kFloat64);
  auto largest = torch::full({features}, -std::numeric_limits<double>::infinity(), torch::kFloat64);
  auto smallest = -largest;
  stream.for_each_piece([&](const RowPiece& piece) {
    const auto& rows = piece.rows;
    if (rows.size(0) > 0) {
      sum.add_(rows.sum(0, false, torch::kFloat64));
      largest = torch::maximum(largest, rows.amax(0));
      smallest = torch::minimum(smallest, rows.amin(0));
    }
  });
  communicator.all_reduce(sum);
  communicator.all_reduce(largest, ReduceOp::kMax);
  communicator.all_reduce(smallest, ReduceOp::kMin);
  return {sum / static_cast<double>(stream.rows()),
          (largest == smallest).sum().item<std::int64_t>()};
}

BlockCyclicLayout feature_layout(std::int64_t rows, std::int64_t columns,
                                 std::shared_ptr<const ProcessGrid> grid) {
  return {rows, columns, block_size(rows, *grid), block_size(columns, *grid), std::move(grid)};
}

GramAccumulator::GramAccumulator(std::shared_ptr<const ProcessGrid> grid, std::int64_t features,
                                 torch::ScalarType products)
    : sum_(DistributedMatrix::zeros(feature_layout(features, features, std::move(grid)),
                                    torch::kFloat64)),
      products_(products) {}

void GramAccumulator::add(const torch::Tensor& rows) {
  add(distribute_samples(sum_.layout().grid, rows.to(products_)));
}

void GramAccumulator::add(const DistributedMatrix& samples) { add_gram(sum_, samples); }

DistributedMatrix GramAccumulator::take_sum() {
  mirror_lower(sum_);
  return std::exchange(sum_, {});
}

DistributedMatrix distribute_samples(const std::shared_ptr<const ProcessGrid>& grid,
                                     const torch::Tensor& rows) {
  const Communicator& all = grid->all();
  const std::int64_t most = all_reduce(all, rows.size(0), ReduceOp::kMax);
  auto target = feature_layout(rows.size(1), most * all.size(), grid);
  target.column_block = std::max<std::int64_t>(1, most * grid->rows());
  auto source = target;
  source.grid = grid->as_row();
  source.column_block = std::max<std::int64_t>(1, most);
  auto own = rows.contiguous();
  if (own.size(0) < most) {
    own = torch::cat({own, torch::zeros({most - own.size(0), own.size(1)}, own.options())});
  }
  const DistributedMatrix samples(source, own.t());
  return source == target ? samples : redistribute(samples, target);
}

torch::Tensor own_rows_of(const DistributedMatrix& samples, std::int64_t count) {
  auto layout = samples.layout();
  layout.grid = layout.grid->as_row();
  layout.column_block =
      std::max<std::int64_t>(1, layout.columns / samples.layout().grid->all().size());
  const auto own = layout == samples.layout() ? samples : redistribute(samples, layout);
  return own.local().t().narrow(0, 0, count);
}

}  // namespace eigenscale
