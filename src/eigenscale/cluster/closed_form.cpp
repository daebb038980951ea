#include "eigenscale/cluster/closed_form.h"

#include <algorithm>
#include <utility>

#include "eigenscale/cluster/affinity.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/linalg/products.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/linalg/symmetric_eigen.h"

namespace eigenscale {

ClosedFormCoefficients closed_form(const torch::Tensor& rows, const RowPartition& partition,
                                   std::shared_ptr<const ProcessGrid> grid, std::int64_t leading) {
  const TraceSpan span("closed form");
  constexpr double kRidge = 0.01;
  const std::int64_t samples = partition.rows();
  const std::int64_t features = rows.size(1);
  const std::int64_t block = spectral_layout(std::min(samples, features), grid).row_block;
  const auto latent =
      from_row_blocks(rows.to(torch::kFloat64), partition, {samples, features, block, block, grid});
  const bool by_features = features <= samples;
  const auto eigen = symmetric_eigen(
      by_features ? multiply(latent, latent, true, false) : multiply(latent, latent, false, true),
      EigenRange::all());
  const auto values = eigen.values.clamp_min(0);
  const double ridge =
      kRidge * values.narrow(0, 0, std::min(leading, values.size(0))).mean().item<double>();

  // C = W W^T with W = Z V (L + g)^(-1/2), or W = U (L / (L + g))^(1/2).
  const auto shifted = (values + ridge).clamp_min(1e-300);
  const auto scale = by_features ? shifted.rsqrt() : (values / shifted).sqrt();
  auto factor = by_features ? multiply(latent, eigen.vectors, false, false) : eigen.vectors;
  factor.local().mul_(scale.index_select(0, factor.layout().global_columns()).unsqueeze(0));
  return {multiply(factor, factor, false, true), values.sqrt(), ridge};
}

}  // namespace eigenscale
