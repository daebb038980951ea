#include "eigenscale/spectral/streamed_covariance.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "eigenscale/linalg/products.h"
#include "eigenscale/linalg/row_blocks.h"

namespace eigenscale {

FeatureMoments feature_moments(const Communicator& communicator, const RowStream& stream) {
  const std::int64_t features = stream.features();
  auto sum = torch::zeros({features}, torch::kFloat64);
  auto largest = torch::full({features}, -std::numeric_limits<double>::infinity(), torch::kFloat64);
  auto smallest = -largest;
  stream.for_each_piece([&](const torch::Tensor& rows) {
    if (rows.size(0) > 0) {
      sum.add_(rows.sum(0));
      largest = torch::maximum(largest, std::get<0>(rows.max(0)));
      smallest = torch::minimum(smallest, std::get<0>(rows.min(0)));
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
  constexpr std::int64_t kLargestBlock = 32;
  const std::int64_t widest = std::max(grid->rows(), grid->columns());
  const auto block = [&](std::int64_t size) {
    return std::clamp<std::int64_t>((size + widest - 1) / widest, 1, kLargestBlock);
  };
  return {rows, columns, block(rows), block(columns), std::move(grid)};
}

GramAccumulator::GramAccumulator(std::shared_ptr<const ProcessGrid> grid, std::int64_t features)
    : sum_(DistributedMatrix::zeros(feature_layout(features, features, std::move(grid)),
                                    torch::kFloat64)) {}

DistributedMatrix GramAccumulator::distribute(const torch::Tensor& rows) const {
  const auto& grid = sum_.layout().grid;
  const std::int64_t most = all_reduce(grid->all(), rows.size(0), ReduceOp::kMax);
  auto padded = torch::zeros({most, rows.size(1)}, torch::kFloat64);
  padded.narrow(0, 0, rows.size(0)).copy_(rows);
  const std::int64_t total = most * grid->all().size();
  return from_row_blocks(padded, RowPartition(total, grid->all().size()),
                         feature_layout(total, rows.size(1), grid));
}

void GramAccumulator::add(const torch::Tensor& rows) { add(distribute(rows)); }

void GramAccumulator::add(const DistributedMatrix& rows) {
  sum_.local().add_(multiply(rows, rows, true, false).local());
}

torch::Tensor own_rows_of(const DistributedMatrix& matrix, std::int64_t count) {
  const RowPartition partition(matrix.layout().rows, matrix.layout().grid->all().size());
  return to_row_blocks(matrix, partition).narrow(0, 0, count);
}

}  // namespace eigenscale
