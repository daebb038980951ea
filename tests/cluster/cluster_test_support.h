#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "eigenscale/core/random.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/linalg/process_grid.h"
#include "linalg/linalg_test_support.h"
#include "support/mpi_test.h"

namespace eigenscale::test {

/// This rank's rows of `all`.
inline torch::Tensor own(const torch::Tensor& all) {
  const auto range = RowPartition(all.size(0), world().size()).range(world().rank());
  return all.narrow(0, range.begin, range.size()).clone();
}

/// Points of `clusters` orthogonal subspaces of dimension 2, `per_cluster` each, shuffled, and
/// their labels: rows that every method here must cluster without a mistake.
struct Subspaces {
  torch::Tensor rows;
  torch::Tensor labels;
};
inline Subspaces orthogonal_subspaces(std::int64_t clusters, std::int64_t per_cluster) {
  const std::int64_t samples = clusters * per_cluster;
  const auto order = CounterRandom(3, "shuffle").permutation(samples);
  const auto coordinates = random_matrix(samples, 2, 5);
  auto rows = torch::zeros({samples, 2 * clusters}, torch::kFloat64);
  auto labels = torch::zeros({samples}, torch::kInt64);
  for (std::int64_t i = 0; i < samples; ++i) {
    const std::int64_t cluster = order[i] % clusters;
    labels[i] = cluster;
    rows[i].narrow(0, 2 * cluster, 2).copy_(coordinates[i] / coordinates[i].norm());
  }
  return {rows, labels};
}

}  // namespace eigenscale::test
