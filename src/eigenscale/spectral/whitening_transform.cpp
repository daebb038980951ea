#include "eigenscale/spectral/whitening_transform.h"

#include <algorithm>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/gram.h"
#include "eigenscale/linalg/products.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/spectral/streamed_covariance.h"

namespace eigenscale {
namespace {

/// The columns of `matrix` times `factors`.
DistributedMatrix scaled_columns(const DistributedMatrix& matrix, const torch::Tensor& factors) {
  auto result = matrix.clone();
  result.local().mul_(factors.index_select(0, matrix.layout().global_columns()).unsqueeze(0));
  return result;
}

}  // namespace

void require_variance(const torch::Tensor& eigenvalues, std::int64_t features,
                      const WhiteningOptions& options) {
  if (options.epsilon > 0) {
    return;
  }
  const double zero =
      static_cast<double>(features) * 0x1p-52 * std::max(eigenvalues[0].item<double>(), 0.0);
  const auto flat = (eigenvalues <= zero).sum().item<std::int64_t>();
  if (flat > 0) {
    throw Error(ExitCode::kInput,
                "the data do not vary in " + std::to_string(flat) + " of " +
                    std::to_string(eigenvalues.numel()) +
                    " directions, which no map can whiten with --epsilon 0; give a positive "
                    "--epsilon or at most " +
                    std::to_string(eigenvalues.numel() - flat) + " --components",
                /*agreed=*/true);
  }
}

EigenRange wanted_pairs(const WhiteningOptions& options, std::int64_t features) {
  return options.components > 0 && options.components < features
             ? EigenRange::largest(options.components)
             : EigenRange::all();
}

WhiteningTransform whitening_transform(const DistributedMatrix& covariance,
                                       const WhiteningOptions& options,
                                       const std::optional<Placement>& placement) {
  const std::int64_t features = covariance.layout().rows;
  const std::int64_t kept =
      options.components > 0 ? std::min(options.components, features) : features;
  auto eigen =
      symmetric_eigen(covariance, wanted_pairs(options, features),
                      {.one_rank = true, .placement = placement, .verify = options.verify});
  WhiteningTransform result;
  result.eigenvalues = eigen.values.clamp_min(0);
  result.solver = eigen.solver;
  result.residual = eigen.residual;
  result.orthogonality = eigen.orthogonality;
  require_variance(result.eigenvalues, features, options);
  const auto& grid = covariance.layout().grid;
  result.components = from_row_blocks(eigen.vectors, RowPartition(features, grid->all().size()),
                                      feature_layout(features, kept, grid));
  eigen.vectors.reset();
  const auto factors = (result.eigenvalues + options.epsilon).rsqrt();
  if (options.method == WhiteningMethod::kPca) {
    result.matrix = scaled_columns(result.components, factors);
    return result;
  }
  // A product with its own transpose has one triangle only to compute.
  result.matrix =
      DistributedMatrix::zeros(feature_layout(features, features, grid), torch::kFloat64);
  add_gram(result.matrix, scaled_columns(result.components, factors.sqrt()));
  mirror_lower(result.matrix);
  return result;
}

DistributedMatrix whitened_covariance(const WhiteningTransform& transform,
                                      const WhiteningOptions& options) {
  const auto shares = transform.eigenvalues / (transform.eigenvalues + options.epsilon);
  if (options.method == WhiteningMethod::kZca) {
    return multiply(scaled_columns(transform.components, shares), transform.components, false,
                    true);
  }
  const std::int64_t kept = shares.numel();
  auto result = DistributedMatrix::zeros(
      feature_layout(kept, kept, transform.components.layout().grid), torch::kFloat64);
  const auto own = own_diagonal(result.layout());
  result.local().index_put_({own.rows, own.columns}, shares.index_select(0, own.indices));
  return result;
}

}  // namespace eigenscale
