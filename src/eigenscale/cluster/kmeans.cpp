#include "eigenscale/cluster/kmeans.h"

#include <cmath>
#include <limits>
#include <tuple>

#include "eigenscale/cluster/row_exchange.h"
#include "eigenscale/core/random.h"

namespace eigenscale {
namespace {

constexpr double kInertiaTie = 1e-10;

torch::Tensor squared_distances(const torch::Tensor& rows, const torch::Tensor& row_norms,
                                const torch::Tensor& centres) {
  return (row_norms + centres.square().sum(1) - 2 * rows.matmul(centres.t())).clamp_min_(0);
}

/// Waiting times -log(u): the first to arrive at rate D^2 is chosen with probability ~ D^2.
torch::Tensor waiting_times(const CounterRandom& random, RowRange own, std::int64_t restarts,
                            std::int64_t round) {
  auto times = torch::empty({own.size(), restarts}, torch::kFloat64);
  auto* next = times.data_ptr<double>();
  for (std::int64_t row = own.begin; row < own.end; ++row) {
    for (std::int64_t restart = 0; restart < restarts; ++restart) {
      *next++ =
          -std::log(random.uniform(row, static_cast<std::uint32_t>(round * restarts + restart)));
    }
  }
  return times;
}

/// k-means++ centres of every restart: restarts x K x d.
torch::Tensor first_centres(const Communicator& communicator, const RowPartition& partition,
                            const torch::Tensor& rows, const torch::Tensor& row_norms,
                            const KmeansOptions& options) {
  const CounterRandom random(options.seed, "kmeans++");
  const RowRange own = partition.range(communicator.rank());
  auto centres = torch::zeros({options.restarts, options.clusters, rows.size(1)}, torch::kFloat64);
  auto nearest = torch::ones({rows.size(0), options.restarts}, torch::kFloat64);
  for (std::int64_t k = 0; k < options.clusters; ++k) {
    const auto times = waiting_times(random, own, options.restarts, k) / nearest;
    const auto chosen =
        fetch_rows(communicator, partition, rows, global_argmin(communicator, partition, times));
    centres.select(1, k).copy_(chosen);
    const auto distance = squared_distances(rows, row_norms, chosen);
    nearest = k == 0 ? distance : torch::minimum(nearest, distance);
  }
  return centres;
}

/// Moves every empty cluster of one restart onto the row farthest from its own centre.
void refill(const Communicator& communicator, const RowPartition& partition,
            const torch::Tensor& rows, torch::Tensor distance, const torch::Tensor& counts,
            torch::Tensor centres) {
  for (std::int64_t k = 0; k < counts.size(0); ++k) {
    if (counts[k].item<double>() == 0) {
      const auto farthest = global_argmin(communicator, partition, -distance.unsqueeze(1));
      centres[k].copy_(fetch_rows(communicator, partition, rows, farthest)[0]);
      const std::int64_t position = farthest[0] - partition.range(communicator.rank()).begin;
      if (position >= 0 && position < distance.size(0)) {
        distance[position] = 0;
      }
    }
  }
}

}  // namespace

Assignment kmeans(const Communicator& communicator, const RowPartition& partition,
                  const torch::Tensor& own_rows, const KmeansOptions& options) {
  const auto rows = own_rows.to(torch::kFloat64).contiguous();
  const auto row_norms = rows.square().sum(1, true);
  const std::int64_t features = rows.size(1);
  auto centres = first_centres(communicator, partition, rows, row_norms, options);
  auto best = torch::full({options.restarts}, std::numeric_limits<double>::max(), torch::kFloat64);
  auto labels = torch::zeros({options.restarts, rows.size(0)}, torch::kInt64);
  for (std::int64_t iteration = 0; iteration < options.most_iterations; ++iteration) {
    // Per restart and cluster: the sum of rows, and in the last two columns count and inertia.
    auto sums = torch::zeros({options.restarts, options.clusters, features + 2}, torch::kFloat64);
    std::vector<torch::Tensor> distances(options.restarts);
    for (std::int64_t r = 0; r < options.restarts; ++r) {
      if (rows.size(0) == 0) {
        distances[r] = torch::zeros({0}, torch::kFloat64);
        continue;
      }
      torch::Tensor own_labels;
      std::tie(distances[r], own_labels) = squared_distances(rows, row_norms, centres[r]).min(1);
      labels[r].copy_(own_labels);
      sums[r].narrow(1, 0, features).index_add_(0, own_labels, rows);
      sums[r].select(1, features).index_add_(0, own_labels, torch::ones_like(distances[r]));
      sums[r].select(1, features + 1).index_add_(0, own_labels, distances[r]);
    }
    communicator.all_reduce(sums);
    const auto inertia = sums.select(2, features + 1).sum(1);
    const auto counts = sums.select(2, features);
    centres = sums.narrow(2, 0, features) / counts.unsqueeze(2).clamp_min(1);
    const bool converged = (inertia >= best - kInertiaTie * best).all().item<bool>() &&
                           (counts > 0).all().item<bool>();
    best = torch::minimum(best, inertia);
    if (converged) {
      break;
    }
    for (std::int64_t r = 0; r < options.restarts; ++r) {
      refill(communicator, partition, rows, distances[r], counts[r], centres[r]);
    }
  }
  const double smallest = best.min().item<double>();
  std::int64_t winner = 0;
  while (best[winner].item<double>() > smallest + kInertiaTie * smallest) {
    ++winner;
  }
  return {labels[winner].clone(), smallest};
}

}  // namespace eigenscale
