#include "eigenscale/cluster/closed_form.h"

#include <algorithm>
#include <utility>

#include "eigenscale/cluster/affinity.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/linalg/products.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/linalg/singular_values.h"
#include "eigenscale/linalg/symmetric_eigen.h"

namespace eigenscale {
namespace {

/// N x d samples in the blocks of the spectral phase, double.
DistributedMatrix distribute_rows(const torch::Tensor& rows, const RowPartition& partition,
                                  std::shared_ptr<const ProcessGrid> grid) {
  const std::int64_t samples = partition.rows();
  const std::int64_t features = rows.size(1);
  auto layout = spectral_layout(std::min(samples, features), std::move(grid));
  layout.rows = samples;
  layout.columns = features;
  return from_row_blocks(rows.to(torch::kFloat64), partition, layout);
}

}  // namespace

DistributedMatrix inner_products(const torch::Tensor& rows, const RowPartition& partition,
                                 std::shared_ptr<const ProcessGrid> grid) {
  const TraceSpan span("inner products");
  const auto latent = distribute_rows(rows, partition, std::move(grid));
  return multiply(latent, latent, false, true);
}

ClosedFormCoefficients closed_form(const torch::Tensor& rows, const RowPartition& partition,
                                   std::shared_ptr<const ProcessGrid> grid, std::int64_t leading) {
  const TraceSpan span("closed form");
  constexpr double kRidge = 0.01;
  const std::int64_t samples = partition.rows();
  const std::int64_t features = rows.size(1);
  const auto latent = distribute_rows(rows, partition, grid);
  const bool by_features = features <= samples;
  const auto eigen = symmetric_eigen(smaller_gram(latent), EigenRange::all());
  const auto values = eigen.values.clamp_min(0);
  const double ridge =
      kRidge * values.narrow(0, 0, std::min(leading, values.size(0))).mean().item<double>();

  // C = W W^T with W = Z V (L + g)^(-1/2), or W = U (L / (L + g))^(1/2).
  const auto shifted = (values + ridge).clamp_min(1e-300);
  const auto scale = by_features ? shifted.rsqrt() : (values / shifted).sqrt();
  auto scaled = eigen.vectors * scale;
  const RowPartition vector_rows(std::min(samples, features), grid->all().size());
  auto vector_layout = spectral_layout(vector_rows.rows(), grid);
  const auto vectors = from_row_blocks(scaled, vector_rows, vector_layout);
  const auto factor = by_features ? multiply(latent, vectors) : vectors;
  return {multiply(factor, factor, false, true), values.sqrt(), ridge};
}

}  // namespace eigenscale
