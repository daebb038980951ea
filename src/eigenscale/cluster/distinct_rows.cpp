#include "eigenscale/cluster/distinct_rows.h"

#include <string_view>
#include <unordered_set>

namespace eigenscale {

std::vector<std::int64_t> distinct_rows(const torch::Tensor& rows, std::int64_t most) {
  const auto values = (rows + 0.0).contiguous();  // makes 0 of -0
  const auto bytes =
      static_cast<std::size_t>(values.size(1)) * torch::elementSize(values.scalar_type());
  const auto* row = static_cast<const char*>(values.data_ptr());
  std::unordered_set<std::string_view> seen;
  std::vector<std::int64_t> first;
  for (std::int64_t i = 0; i < values.size(0) && std::ssize(first) < most; ++i, row += bytes) {
    if (seen.emplace(row, bytes).second) {
      first.push_back(i);
    }
  }
  return first;
}

std::int64_t count_distinct_rows(const Communicator& communicator, const torch::Tensor& rows,
                                 std::int64_t most) {
  const auto own = torch::tensor(distinct_rows(rows, most), torch::kInt64);
  auto sizes = torch::zeros({communicator.size()}, torch::kInt64);
  sizes[communicator.rank()] = own.numel();
  communicator.all_reduce(sizes);
  const Communicator::Counts counts(sizes.data_ptr<std::int64_t>(),
                                    sizes.data_ptr<std::int64_t>() + sizes.numel());
  auto all = torch::empty({sizes.sum().item<std::int64_t>(), rows.size(1)}, rows.options());
  communicator.all_gather(all, rows.index_select(0, own), counts);
  return std::ssize(distinct_rows(all, most));
}

}  // namespace eigenscale
