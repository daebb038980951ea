#include "eigenscale/spectral/distributed_singular_value_threshold.h"

#include <algorithm>

#include "eigenscale/linalg/products.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/linalg/singular_values.h"
#include "eigenscale/linalg/symmetric_eigen.h"

namespace eigenscale {

LowRankMatrix distributed_singular_value_threshold(const torch::Tensor& matrix, double threshold,
                                                   const std::shared_ptr<const ProcessGrid>& grid) {
  const bool wide = matrix.size(1) > matrix.size(0);
  const auto tall = wide ? matrix.t() : matrix;  // n x d with d <= n
  const std::int64_t d = tall.size(1);
  const std::int64_t block = block_size(d, *grid);

  const RowPartition partition(tall.size(0), grid->all().size());
  const auto own = partition.range(grid->all().rank());
  const auto own_rows = tall.narrow(0, own.begin, own.size()).to(torch::kFloat64).contiguous();
  const auto distributed =
      from_row_blocks(own_rows, partition, {tall.size(0), d, block, block, grid});
  const auto eigen = symmetric_eigen(smaller_gram(distributed), EigenRange::all());
  const auto singular = eigen.values.clamp_min(0).sqrt();
  const auto rank = (singular > threshold).sum().item<std::int64_t>();
  if (rank == 0) {
    return {torch::zeros_like(matrix), 0};
  }
  // Of the own rows: (W V) f V^T with V in blocks of rows, one at a time from its owner, so that no
  // rank holds it whole.
  const auto factors = 1 - threshold / singular.narrow(0, 0, rank);
  const RowPartition vectors(d, grid->all().size());
  const auto block_of = [&](int owner) {
    auto rows = torch::empty({vectors.range(owner).size(), rank}, torch::kFloat64);
    if (owner == grid->all().rank()) {
      rows.copy_(eigen.vectors.narrow(1, 0, rank));
    }
    grid->all().broadcast(rows, owner);
    return rows;
  };
  auto coordinates = torch::zeros({own.size(), rank}, torch::kFloat64);
  for (int owner = 0; owner < grid->all().size(); ++owner) {
    const auto range = vectors.range(owner);
    coordinates.addmm_(own_rows.narrow(1, range.begin, range.size()), block_of(owner));
  }
  coordinates.mul_(factors.unsqueeze(0));
  auto own_result = torch::empty({own.size(), d}, matrix.scalar_type());
  for (int owner = 0; owner < grid->all().size(); ++owner) {
    const auto range = vectors.range(owner);
    own_result.narrow(1, range.begin, range.size())
        .copy_(torch::mm(coordinates, block_of(owner).t()));
  }
  auto result = torch::empty({tall.size(0), d}, matrix.scalar_type());
  grid->all().all_gather(result, own_result, partition.counts());
  return {wide ? result.t().contiguous() : result, rank};
}

}  // namespace eigenscale
