#include "eigenscale/cluster/discretization.h"

#include <limits>

#include "eigenscale/cluster/row_exchange.h"
#include "eigenscale/core/random.h"

namespace eigenscale {
namespace {

// Relative changes below this are rounding: sums over ranks in another order differ by 1e-16 N.
constexpr double kTie = 1e-10;

/// K rows of the embedding that are as orthogonal to each other as a greedy choice finds, for each
/// start: the columns of the first rotations, starts x K x K.
torch::Tensor first_rotations(const Communicator& communicator, const RowPartition& partition,
                              const torch::Tensor& rows, const DiscretizationOptions& options) {
  const std::int64_t clusters = rows.size(1);
  const CounterRandom random(options.seed, "discretization");
  std::vector<std::int64_t> chosen(options.starts);
  for (std::int64_t start = 0; start < options.starts; ++start) {
    chosen[start] = static_cast<std::int64_t>(random.integer(partition.rows(), start));
  }
  auto rotations = torch::zeros({options.starts, clusters, clusters}, torch::kFloat64);
  auto overlap = torch::zeros({rows.size(0), options.starts}, torch::kFloat64);
  for (std::int64_t k = 0;; ++k) {
    const auto picked = fetch_rows(communicator, partition, rows, chosen);
    rotations.select(2, k).copy_(picked);
    if (k + 1 == clusters) {
      return rotations;
    }
    overlap += rows.matmul(picked.t()).abs();
    chosen = global_argmin(communicator, partition, overlap);
  }
}

/// The orthogonal matrices closest to turning rows into indicators: from M = sum of indicator^T
/// rows (starts x K x K), R = V U^T of M = U S V^T. Rank 0 decomposes so that all ranks agree.
torch::Tensor next_rotations(const Communicator& communicator, const torch::Tensor& moments,
                             torch::Tensor& traces) {
  auto rotations = torch::empty_like(moments);
  if (communicator.rank() == 0) {
    const auto [u, s, vh] = torch::linalg_svd(moments, false);
    rotations = torch::matmul(vh.transpose(1, 2), u.transpose(1, 2)).contiguous();
    traces = s.sum(1).contiguous();
  }
  communicator.broadcast(rotations, 0);
  communicator.broadcast(traces, 0);
  return rotations;
}

}  // namespace

torch::Tensor normalize_rows(const torch::Tensor& rows) {
  const auto length = rows.norm(2, 1, true);
  return rows / length.where(length > 0, torch::ones_like(length));
}

Assignment discretize(const Communicator& communicator, const RowPartition& partition,
                      const torch::Tensor& embedding, const DiscretizationOptions& options) {
  const std::int64_t clusters = embedding.size(1);
  const auto rows = normalize_rows(embedding).contiguous();
  auto rotations = first_rotations(communicator, partition, rows, options);
  auto best = torch::full({options.starts}, -1.0, torch::kFloat64);
  auto labels = torch::zeros({options.starts, rows.size(0)}, torch::kInt64);
  for (std::int64_t iteration = 0; iteration < options.most_iterations; ++iteration) {
    auto moments = torch::zeros({options.starts, clusters, clusters}, torch::kFloat64);
    for (std::int64_t start = 0; start < options.starts; ++start) {
      labels[start] = rows.numel() > 0 ? rows.matmul(rotations[start]).argmax(1) : labels[start];
      moments[start].index_add_(0, labels[start], rows);
    }
    communicator.all_reduce(moments);
    auto traces = torch::zeros({options.starts}, torch::kFloat64);
    rotations = next_rotations(communicator, moments, traces);
    const bool converged = (traces <= best + kTie * best.abs()).all().item<bool>();
    best = torch::maximum(best, traces);
    if (converged) {
      break;
    }
  }
  const double largest = best.max().item<double>();
  std::int64_t winner = 0;
  while (best[winner].item<double>() < largest - kTie * largest) {
    ++winner;
  }
  return {labels[winner].clone(), 2 * (static_cast<double>(partition.rows()) - largest)};
}

}  // namespace eigenscale
