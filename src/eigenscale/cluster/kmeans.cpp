#include "eigenscale/cluster/kmeans.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "eigenscale/cluster/lloyd.h"
#include "eigenscale/cluster/row_exchange.h"
#include "eigenscale/core/random.h"

namespace eigenscale {
namespace {

// Of large data: restarts on the sample need only show which is best, and its centres are then
// close to what all rows say. Data without clusters would move on for hundreds of iterations.
constexpr std::int64_t kSampleIterations = 50;
constexpr std::int64_t kWholeIterations = 20;

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

/// k-means++ centres of every restart, restarts x K x d. Rows in double.
torch::Tensor first_centres(const Communicator& communicator, const RowPartition& partition,
                            const torch::Tensor& rows, const KmeansOptions& options) {
  const CounterRandom random(options.seed, "kmeans++");
  const RowRange own = partition.range(communicator.rank());
  // About any row: far from the origin distances cancel.
  const auto origin = fetch_rows(communicator, partition, rows, {0});
  const auto shifted = rows - origin;
  const auto norms = shifted.square().sum(1, true);
  auto centres = torch::zeros({options.restarts, options.clusters, rows.size(1)}, torch::kFloat64);
  auto nearest = torch::ones({rows.size(0), options.restarts}, torch::kFloat64);
  for (std::int64_t k = 0; k < options.clusters; ++k) {
    const auto times = waiting_times(random, own, options.restarts, k) / nearest;
    const auto chosen =
        fetch_rows(communicator, partition, shifted, global_argmin(communicator, partition, times));
    centres.select(1, k).copy_(chosen + origin);
    const auto distance =
        (norms + chosen.square().sum(1) - 2 * shifted.matmul(chosen.t())).clamp_min_(0);
    nearest = k == 0 ? distance : torch::minimum(nearest, distance);
  }
  return centres;
}

std::int64_t sample_size(const KmeansOptions& options, std::int64_t features) {
  constexpr std::int64_t kRows = 20000;
  constexpr std::int64_t kRowsPerCluster = 20;
  constexpr std::int64_t kNumbers = std::int64_t{1} << 24;  // every rank holds the sample
  return options.sample > 0
             ? options.sample
             : std::max(kRowsPerCluster * options.clusters,
                        std::min(kRows, kNumbers / std::max<std::int64_t>(1, features)));
}

/// This rank's share of `count` rows, one of each of `count` stretches of equal length.
torch::Tensor sampled_rows(const Communicator& communicator, const RowPartition& partition,
                           const torch::Tensor& rows, std::int64_t count, std::uint64_t seed) {
  const CounterRandom random(seed, "kmeans sample");
  const RowRange own = partition.range(communicator.rank());
  const std::int64_t shortest = partition.rows() / count;
  const std::int64_t longer = partition.rows() % count;
  std::vector<std::int64_t> here;
  std::vector<std::int64_t> places;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t begin = i * shortest + std::min(i, longer);
    const std::int64_t length = shortest + (i < longer ? 1 : 0);
    const auto row = begin + static_cast<std::int64_t>(random.integer(length, i));
    if (row >= own.begin && row < own.end) {
      here.push_back(row - own.begin);
      places.push_back(i);
    }
  }
  auto sample = torch::zeros({count, rows.size(1)}, rows.options());
  sample.index_copy_(0, torch::tensor(places, torch::kInt64),
                     rows.index_select(0, torch::tensor(here, torch::kInt64)));
  // One owner and zeros elsewhere: the sum is exact.
  communicator.all_reduce(sample);
  const RowRange share = RowPartition(count, communicator.size()).range(communicator.rank());
  return sample.narrow(0, share.begin, share.size()).to(torch::kFloat64);
}

/// The first restart with the smallest inertia.
std::int64_t best_restart(const torch::Tensor& inertia) {
  const double smallest = inertia.min().item<double>();
  std::int64_t winner = 0;
  while (inertia[winner].item<double>() > smallest + kInertiaTie * smallest) {
    ++winner;
  }
  return winner;
}

}  // namespace

Assignment kmeans(const Communicator& communicator, const RowPartition& partition,
                  const torch::Tensor& own_rows, const KmeansOptions& options) {
  const std::int64_t sample = sample_size(options, own_rows.size(1));
  const bool sampled = sample < partition.rows();
  const RowPartition start_partition =
      sampled ? RowPartition(sample, communicator.size()) : partition;
  const auto start_rows =
      sampled ? sampled_rows(communicator, partition, own_rows, sample, options.seed)
              : own_rows.to(torch::kFloat64);
  const auto centres = first_centres(communicator, start_partition, start_rows, options);
  auto found = lloyd(
      communicator, start_partition, start_rows, centres,
      sampled ? std::min(kSampleIterations, options.most_iterations) : options.most_iterations);
  std::int64_t winner = best_restart(found.inertia);
  if (sampled) {
    found = lloyd(communicator, partition, own_rows, found.centres.narrow(0, winner, 1),
                  std::min(kWholeIterations, options.most_iterations));
    winner = 0;
  }
  return {found.labels[winner].clone(), found.inertia[winner].item<double>()};
}

}  // namespace eigenscale
