#include "eigenscale/cluster/extreme_rows.h"

#include <algorithm>
#include <utility>

namespace eigenscale {

std::vector<std::int64_t> extreme_rows(const Communicator& communicator, std::int64_t first_row,
                                       const torch::Tensor& values, std::int64_t count,
                                       bool largest) {
  // A rank offers as many as could be wanted; -1 marks those that are none.
  auto offered = torch::full({count, 2}, -1.0, torch::kFloat64);
  const std::int64_t own = std::min(count, values.numel());
  if (own > 0) {
    const auto order =
        std::get<1>(torch::sort(values, /*stable=*/true, 0, largest)).narrow(0, 0, own);
    offered.narrow(0, 0, own).select(1, 0).copy_(values.index_select(0, order));
    offered.narrow(0, 0, own).select(1, 1).copy_(order + first_row);
  }
  auto all = torch::empty({count * communicator.size(), 2}, torch::kFloat64);
  communicator.all_gather(all, offered, Communicator::Counts(communicator.size(), count));
  std::vector<std::pair<double, std::int64_t>> candidates;
  const auto table = all.accessor<double, 2>();
  for (std::int64_t i = 0; i < all.size(0); ++i) {
    if (table[i][1] >= 0) {
      candidates.emplace_back(largest ? -table[i][0] : table[i][0],
                              static_cast<std::int64_t>(table[i][1]));
    }
  }
  std::ranges::sort(candidates);
  std::vector<std::int64_t> result;
  for (std::int64_t i = 0; i < std::min(count, std::ssize(candidates)); ++i) {
    result.push_back(candidates[i].second);
  }
  return result;
}

}  // namespace eigenscale
