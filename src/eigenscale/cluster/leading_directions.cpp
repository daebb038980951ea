#include "eigenscale/cluster/leading_directions.h"

#include <algorithm>
#include <memory>

#include "eigenscale/cluster/landmarks.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/linalg/symmetric_eigen.h"
#include "eigenscale/spectral/streamed_covariance.h"

namespace eigenscale {

LeadingDirections leading_directions(const Communicator& world, const RowPartition& partition,
                                     const RowProvider& rows, std::int64_t count,
                                     std::uint64_t seed) {
  const auto sample = draw_rows(partition.rows(), std::min(kDirectionSample, partition.rows()),
                                seed, "direction sample");
  torch::Tensor own;
  on_all_ranks(world, [&] {
    own = rows.read_at(own_positions(partition.range(world.rank()), sample), torch::kFloat32);
  });
  const auto [grid_rows, grid_columns] = ProcessGrid::squarest(world.size());
  GramAccumulator gram(std::make_shared<const ProcessGrid>(world, grid_rows, grid_columns),
                       rows.features());
  // A few rows at a time: they are doubles in there.
  constexpr std::int64_t kPieceRows = 2048;
  const std::int64_t most = all_reduce(world, own.size(0), ReduceOp::kMax);
  for (std::int64_t first = 0; first < most; first += kPieceRows) {
    const std::int64_t begin = std::min(first, own.size(0));
    gram.add(own.narrow(0, begin, std::min(kPieceRows, own.size(0) - begin)));
  }
  const auto eigen = symmetric_eigen(gram.take_sum(), EigenRange::largest(count));
  auto directions = torch::empty({rows.features(), count}, torch::kFloat64);
  world.all_gather(directions, eigen.vectors.contiguous(),
                   RowPartition(rows.features(), world.size()).counts());
  return {directions, eigen.values / static_cast<double>(std::max<std::size_t>(1, sample.size()))};
}

}  // namespace eigenscale
