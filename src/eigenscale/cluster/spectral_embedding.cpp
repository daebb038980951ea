#include "eigenscale/cluster/spectral_embedding.h"

#include <algorithm>

#include "eigenscale/cluster/affinity.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/linalg/symmetric_eigen.h"

namespace eigenscale {
namespace {

// Eigenvalues behind the K-th that are computed for the picture of the gap.
constexpr std::int64_t kBehindGap = 10;

/// Row sums of the whole matrix, N doubles on every rank.
torch::Tensor degrees(const DistributedMatrix& affinity) {
  auto sums = torch::zeros({affinity.layout().rows}, torch::kFloat64);
  sums.index_add_(0, affinity.layout().global_rows(), affinity.local().sum(1));
  affinity.layout().grid->all().all_reduce(sums);
  return sums;
}

}  // namespace

SpectralEmbedding spectral_embedding(DistributedMatrix affinity, const RowPartition& partition,
                                     std::int64_t clusters) {
  const TraceSpan span("spectral embedding");
  const auto& layout = affinity.layout();
  const auto own = own_diagonal(layout);
  const auto self_affinities = affinity.local().index({own.rows, own.columns});
  set_diagonal(affinity, 0);
  const auto degree = degrees(affinity);
  const auto connected = degree > 0;
  const auto scale =
      torch::where(connected, degree.clamp_min(1e-300).rsqrt(), torch::zeros_like(degree));
  const auto multiply_by = [&](const torch::Tensor& factors) {
    affinity.local()
        .mul_(factors.index_select(0, layout.global_rows()).unsqueeze(1))
        .mul_(factors.index_select(0, layout.global_columns()).unsqueeze(0));
  };
  multiply_by(scale);
  const std::int64_t wanted = std::min(layout.rows, clusters + kBehindGap);
  const auto eigen = symmetric_eigen(affinity, EigenRange::largest(wanted));
  // The caller's matrix, put back where a copy would have cost as much again.
  multiply_by(degree.sqrt());
  affinity.local().index_put_({own.rows, own.columns}, self_affinities);
  SpectralEmbedding result;
  result.rows = eigen.vectors.narrow(1, 0, clusters).contiguous();
  result.eigenvalues = eigen.values;
  result.isolated = partition.rows() - connected.sum().item<std::int64_t>();
  result.components = (eigen.values > 1 - 1e-9).sum().item<std::int64_t>();
  result.solver = eigen.solver;
  return result;
}

}  // namespace eigenscale
