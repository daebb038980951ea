#pragma once

#include <memory>
#include <vector>

#include "eigenscale/core/random.h"
#include "eigenscale/linalg/distributed_matrix.h"
#include "support/mpi_test.h"

namespace eigenscale::test {

/// All Pr x Pc grids of the world.
inline const std::vector<std::shared_ptr<const ProcessGrid>>& all_grids() {
  static const auto* const grids = [] {
    auto* result = new std::vector<std::shared_ptr<const ProcessGrid>>;
    for (int rows = 1; rows <= world().size(); ++rows) {
      if (world().size() % rows == 0) {
        result->push_back(
            std::make_shared<const ProcessGrid>(world(), rows, world().size() / rows));
      }
    }
    return result;
  }();
  return *grids;
}

/// The same pseudo-random matrix on every rank.
inline torch::Tensor random_matrix(std::int64_t rows, std::int64_t columns, std::uint64_t seed) {
  const CounterRandom random(seed, "test matrix");
  auto matrix = torch::empty({rows, columns}, torch::kFloat64);
  for (std::int64_t i = 0; i < matrix.numel(); ++i) {
    matrix.data_ptr<double>()[i] = random.normal(i);
  }
  return matrix;
}

/// This rank's block of a matrix that all ranks know.
inline torch::Tensor local_part(const torch::Tensor& whole, const BlockCyclicLayout& layout) {
  return whole.index_select(0, layout.global_rows()).index_select(1, layout.global_columns());
}

/// A matrix that all ranks know, distributed.
inline DistributedMatrix distribute(const torch::Tensor& whole, const BlockCyclicLayout& layout) {
  auto matrix = DistributedMatrix::zeros(layout, whole.scalar_type());
  matrix.local().copy_(local_part(whole, layout));
  return matrix;
}

}  // namespace eigenscale::test
