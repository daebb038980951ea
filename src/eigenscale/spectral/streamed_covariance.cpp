#include "eigenscale/spectral/streamed_covariance.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "eigenscale/linalg/gram.h"
#include "eigenscale/linalg/redistribute.h"
#include "eigenscale/linalg/row_blocks.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kCachedNumbers = 1 << 17;

}  // namespace

FeatureMoments feature_moments(const Placement& placement, const RowStream& stream) {
  const std::int64_t features = stream.features();
  const auto wide = placement.options(torch::kFloat64);
  auto sum = torch::zeros({features}, wide);
  auto largest = torch::full({features}, -std::numeric_limits<double>::infinity(), wide);
  auto smallest = -largest;
  stream.for_each_piece([&](const RowPiece& piece) {
    if (piece.rows.size(0) == 0) {
      return;
    }
    // So many features at a time that the second and the third look find them in the cache.
    const std::int64_t most = std::max<std::int64_t>(kCachedNumbers / piece.rows.size(0), 16);
    for (std::int64_t first = 0; first < features; first += most) {
      const std::int64_t count = std::min(most, features - first);
      const auto rows = piece.rows.narrow(1, first, count);
      sum.narrow(0, first, count).add_(rows.sum(0, false, torch::kFloat64));
      auto high = largest.narrow(0, first, count);
      high.copy_(torch::maximum(high, rows.amax(0)));
      auto low = smallest.narrow(0, first, count);
      low.copy_(torch::minimum(low, rows.amin(0)));
    }
  });
  placement.data().all_reduce(sum);
  placement.data().all_reduce(largest, ReduceOp::kMax);
  placement.data().all_reduce(smallest, ReduceOp::kMin);
  const auto constant = placement.to_host((largest == smallest).sum(), "moments");
  return {placement.to_host(sum, "moments") / static_cast<double>(stream.rows()),
          constant.item<std::int64_t>()};
}

BlockCyclicLayout feature_layout(std::int64_t rows, std::int64_t columns,
                                 std::shared_ptr<const ProcessGrid> grid) {
  return {rows, columns, block_size(rows, *grid), block_size(columns, *grid), std::move(grid)};
}

GramAccumulator::GramAccumulator(std::shared_ptr<const ProcessGrid> grid, std::int64_t features,
                                 torch::ScalarType products)
    : GramAccumulator(grid, Placement(grid->all()), features, products) {}

GramAccumulator::GramAccumulator(std::shared_ptr<const ProcessGrid> grid,
                                 const Placement& placement, std::int64_t features,
                                 torch::ScalarType products)
    : layout_(feature_layout(features, features, std::move(grid))), products_(products) {
  if (placement.on_device()) {
    on_device_.emplace(placement, features);
  } else {
    sum_ = DistributedMatrix::zeros(layout_, torch::kFloat64);
  }
}

void GramAccumulator::add(const torch::Tensor& rows) {
  if (on_device_) {
    on_device_->add(rows.to(products_));
  } else {
    add(distribute_samples(layout_.grid, rows.to(products_)));
  }
}

void GramAccumulator::add(const DistributedMatrix& samples) { add_gram(sum_, samples); }

DistributedMatrix GramAccumulator::take_sum() {
  if (on_device_) {
    const RowPartition partition(layout_.rows, layout_.grid->all().size());
    return from_row_blocks(on_device_->own_rows(), partition, layout_);
  }
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
