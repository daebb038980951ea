#include "eigenscale/cluster/affinity.h"

#include <algorithm>
#include <utility>

#include "eigenscale/cluster/discretization.h"
#include "eigenscale/cluster/threshold.h"
#include "eigenscale/comm/finite.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/linalg/products.h"
#include "eigenscale/linalg/redistribute.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/linalg/symmetric_eigen.h"

namespace eigenscale {
namespace {

constexpr const char* kCoefficientAdvice =
    "the data over- or underflow the arithmetic; scale them by --scale, use --precision double, or "
    "raise --subspace-dim above 0";

}  // namespace

DistributedMatrix symmetric_part(const DistributedMatrix& matrix,
                                 std::shared_ptr<const ProcessGrid> grid) {
  const auto layout = spectral_layout(matrix.layout().rows, std::move(grid));
  const auto upright = redistribute(matrix, layout);
  auto sum = redistribute_transposed(matrix, layout);
  sum.local().add_(upright.local());
  return DistributedMatrix(layout, sum.local().to(torch::kFloat64).mul_(0.5));
}

BlockCyclicLayout spectral_layout(std::int64_t samples, std::shared_ptr<const ProcessGrid> grid) {
  return square_layout(samples, std::move(grid));
}

void set_diagonal(DistributedMatrix& matrix, double value) {
  const auto own = own_diagonal(matrix.layout());
  matrix.local().index_put_({own.rows, own.columns},
                            torch::scalar_tensor(value, matrix.local().options()));
}

DistributedMatrix raw_affinity(const DistributedMatrix& coefficients,
                               std::shared_ptr<const ProcessGrid> grid) {
  require_finite(grid->all(), coefficients.local(), "the matrix of coefficients",
                 kCoefficientAdvice);
  return symmetric_part(
      DistributedMatrix(coefficients.layout(), coefficients.local().t().abs().t()),
      std::move(grid));
}

DistributedMatrix cosine_affinity(const torch::Tensor& rows, const RowPartition& partition,
                                  std::shared_ptr<const ProcessGrid> grid, double power) {
  auto layout = spectral_layout(partition.rows(), grid);
  layout.columns = rows.size(1);
  const auto coordinates = from_row_blocks(rows, partition, layout);
  auto affinity = multiply(coordinates, coordinates, false, true);
  auto local = affinity.local();
  local.clamp_min_(0);
  if (power != 1) {
    local.pow_(power);
  }
  require_finite(grid->all(), local, "the affinity", "lower --affinity-power");
  const double largest =
      all_reduce(grid->all(), local.numel() > 0 ? local.max().item<double>() : 0, ReduceOp::kMax);
  if (largest > 0) {
    local.div_(largest);
  }
  return affinity;
}

SmoothedAffinity smooth_affinity(const DistributedMatrix& coefficients,
                                 std::shared_ptr<const ProcessGrid> grid,
                                 const RowPartition& partition, const ClusteringSettings& settings,
                                 std::int64_t clusters, bool drop_diagonal) {
  const TraceSpan span("affinity");
  const std::int64_t samples = coefficients.layout().rows;
  require_finite(grid->all(), coefficients.local(), "the matrix of coefficients",
                 kCoefficientAdvice);
  auto symmetric =
      symmetric_part(threshold_columns(coefficients, settings.threshold, drop_diagonal), grid);
  if (settings.unit_diagonal) {
    set_diagonal(symmetric, 1);
  }
  const std::int64_t leading = std::clamp<std::int64_t>(settings.subspace_dim * clusters + 1, 1,
                                                        std::max<std::int64_t>(1, samples - 1));
  auto eigen = symmetric_eigen(symmetric, EigenRange::largest_magnitude(leading));
  symmetric = {};

  const auto rows = normalize_rows(eigen.vectors.mul_(eigen.values.abs().sqrt()));
  return {cosine_affinity(rows, partition, std::move(grid), settings.affinity_power), eigen.solver};
}

DistributedMatrix neighbour_affinity(const DistributedMatrix& coefficients,
                                     std::shared_ptr<const ProcessGrid> grid,
                                     std::int64_t neighbours, double power) {
  const TraceSpan span("affinity");
  require_finite(grid->all(), coefficients.local(), "the matrix of coefficients",
                 kCoefficientAdvice);
  auto kept = keep_neighbours(coefficients, neighbours);
  auto local = kept.local();
  local.abs_();
  const double largest =
      all_reduce(grid->all(), local.numel() > 0 ? local.max().item<double>() : 0, ReduceOp::kMax);
  if (largest > 0) {
    local.div_(largest).pow_(power);
  }
  return symmetric_part(kept, std::move(grid));
}

}  // namespace eigenscale
