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
constexpr std::int64_t kMostWhole = 4096;

/// Adds the sums, and widens the bounds, of n x `width` numbers that are `stride` apart.
template <typename Value>
void add_moments(const Value* rows, std::int64_t n, std::int64_t stride, std::int64_t width,
                 double* sum, double* high, double* low) {
  for (std::int64_t i = 0; i < n; ++i) {
    const Value* row = rows + i * stride;
    for (std::int64_t j = 0; j < width; ++j) {
      const auto value = static_cast<double>(row[j]);
      sum[j] += value;
      high[j] = value > high[j] ? value : high[j];
      low[j] = value < low[j] ? value : low[j];
    }
  }
}

/// The same of rows on the host, of floats or doubles, in one look at them.
void add_moments(const torch::Tensor& rows, const torch::Tensor& sum, const torch::Tensor& high,
                 const torch::Tensor& low) {
  constexpr std::int64_t kFeatures = 512;  // whose moments stay in the first cache
  auto of_piece = torch::zeros_like(sum);  // sums of sums round less
  for (std::int64_t first = 0; first < rows.size(1); first += kFeatures) {
    const std::int64_t width = std::min(kFeatures, rows.size(1) - first);
    const auto add = [&](const auto* values) {
      add_moments(values + first, rows.size(0), rows.stride(0), width,
                  of_piece.data_ptr<double>() + first, high.data_ptr<double>() + first,
                  low.data_ptr<double>() + first);
    };
    if (rows.scalar_type() == torch::kFloat64) {
      add(rows.data_ptr<double>());
    } else {
      add(rows.data_ptr<float>());
    }
  }
  sum.add_(of_piece);
}

/// [collective] What all ranks have of some rows of a square matrix, up to the diagonal, is added
/// on rank `root`.
void sum_lower(const Communicator& all, const torch::Tensor& matrix, RowRange rows, int root) {
  for (std::int64_t first = rows.begin; first < rows.end; first += kSummedRows) {
    const std::int64_t count = std::min(kSummedRows, rows.end - first);
    const auto lower = matrix.narrow(0, first, count).narrow(1, 0, first + count);
    const auto strip = lower.contiguous();
    all.reduce(strip, ReduceOp::kSum, root);
    if (all.rank() == root) {
      lower.copy_(strip);
    }
  }
}

}  // namespace

FeatureMoments feature_moments(const Placement& placement, const RowStream& stream) {
  const std::int64_t features = stream.features();
  const auto wide = placement.options(torch::kFloat64);
  auto sum = torch::zeros({features}, wide);
  auto largest = torch::full({features}, -std::numeric_limits<double>::infinity(), wide);
  auto smallest = -largest;
  const auto add_on_host = [&](const RowPiece& piece) {
    add_moments(piece.rows.contiguous(), sum, largest, smallest);
  };
  const auto add_on_device = [&](const RowPiece& piece) {
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
  };
  if (placement.on_device()) {
    stream.for_each_piece(add_on_device);
  } else {
    stream.for_each_own_piece(add_on_host);
  }
  placement.data().all_reduce(sum);
  placement.data().all_reduce(largest, ReduceOp::kMax);
  placement.data().all_reduce(smallest, ReduceOp::kMin);
  const auto constant = placement.to_host((largest == smallest).sum(), "moments");
  return {placement.to_host(sum, "moments") / static_cast<double>(stream.rows()),
          constant.item<std::int64_t>()};
}

bool sums_whole(std::int64_t rows, std::int64_t features, std::int64_t ranks) {
  return ranks == 1 ||
         (features <= kMostWhole && rows >= 2 * features && rows >= kSingleProducts * ranks);
}

GramSum way_of_sum(std::int64_t rows, std::int64_t features, EigenRange wanted,
                   const Communicator& all) {
  if (!sums_whole(rows, features, all.size())) {
    return GramSum::kBlocks;
  }
  return first_rank_solves(features, wanted, all) ? GramSum::kOnFirstRank : GramSum::kOwnRows;
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
                                 torch::ScalarType products, GramSum how)
    : layout_(feature_layout(features, features, std::move(grid))), how_(how), products_(products) {
  if (placement.on_device()) {
    on_device_.emplace(placement, features);
  } else if (how != GramSum::kBlocks) {
    require_indexable({features, features, features, features, layout_.grid});
    whole_sum_ = torch::zeros({features, features}, torch::kFloat64);
  } else {
    sum_ = DistributedMatrix::zeros(layout_, torch::kFloat64);
  }
}

void GramAccumulator::add(const torch::Tensor& rows) {
  if (on_device_) {
    on_device_->add(rows.to(products_));
  } else if (whole_sum_.defined()) {
    add_widened_gram_of_rows(whole_sum_, rows.to(products_).contiguous());
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
  if (whole_sum_.defined()) {
    return take_whole_sum();
  }
  mirror_lower(sum_);
  return std::exchange(sum_, {});
}

DistributedMatrix GramAccumulator::take_whole_sum() {
  const Communicator& all = layout_.grid->all();
  if (all.size() == 1) {
    mirror_lower(whole_sum_);
    return {layout_, std::exchange(whole_sum_, {}).t()};  // symmetric: column-major, too
  }
  if (how_ == GramSum::kOnFirstRank) {
    sum_lower(all, whole_sum_, {0, layout_.rows}, 0);
    const auto layout = one_block(layout_.rows, layout_.grid);
    if (all.rank() != 0) {
      whole_sum_.reset();
      return DistributedMatrix::zeros(layout, torch::kFloat64);
    }
    mirror_lower(whole_sum_);
    return {layout, std::exchange(whole_sum_, {}).t()};
  }
  const RowPartition partition(layout_.rows, all.size());
  for (int rank = 0; rank < all.size(); ++rank) {
    sum_lower(all, whole_sum_, partition.range(rank), rank);
  }
  const auto own = partition.range(all.rank());
  auto own_rows = whole_sum_.narrow(0, own.begin, own.size()).clone();
  whole_sum_.reset();
  auto sum = from_row_blocks(own_rows, partition, layout_);
  mirror_lower(sum);
  return sum;
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
