#include "eigenscale/cluster/row_exchange.h"

#include <limits>
#include <tuple>

namespace eigenscale {

torch::Tensor fetch_rows(const Communicator& communicator, const RowPartition& partition,
                         const torch::Tensor& own_rows, const std::vector<std::int64_t>& indices) {
  const RowRange own = partition.range(communicator.rank());
  auto fetched = torch::zeros({std::ssize(indices), own_rows.size(1)}, own_rows.options());
  for (std::int64_t i = 0; i < std::ssize(indices); ++i) {
    if (indices[i] >= own.begin && indices[i] < own.end) {
      fetched[i].copy_(own_rows[indices[i] - own.begin]);
    }
  }
  // One owner and zeros elsewhere: the sum is exact.
  communicator.all_reduce(fetched);
  return fetched;
}

std::vector<std::int64_t> global_argmin(const Communicator& communicator,
                                        const RowPartition& partition,
                                        const torch::Tensor& own_values) {
  const std::int64_t columns = own_values.size(1);
  const RowRange own = partition.range(communicator.rank());
  auto smallest = torch::full({columns}, std::numeric_limits<double>::infinity(), torch::kFloat64);
  auto index = torch::full({columns}, std::numeric_limits<std::int64_t>::max(), torch::kInt64);
  auto own_smallest = smallest;
  if (own.size() > 0) {
    torch::Tensor position;
    std::tie(own_smallest, position) = own_values.min(0);
    smallest = own_smallest.clone();
    index = position + own.begin;
  }
  communicator.all_reduce(smallest, ReduceOp::kMin);
  index = index.where(own_smallest == smallest,
                      torch::full_like(index, std::numeric_limits<std::int64_t>::max()));
  communicator.all_reduce(index, ReduceOp::kMin);
  const auto* data = index.data_ptr<std::int64_t>();
  return {data, data + columns};
}

}  // namespace eigenscale
