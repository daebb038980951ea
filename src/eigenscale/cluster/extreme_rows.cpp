#include "eigenscale/cluster/extreme_rows.h"

#include <algorithm>
#include <utility>

namespace eigenscale {
namespace {

/// (value, or its negative where the largest are wanted; index): the smallest pairs come first.
using Extreme = std::pair<double, std::int64_t>;

/// The `count` most extreme of this rank's rows, by a heap of so many: rows may be tens of
/// millions.
std::vector<Extreme> own_extremes(std::int64_t first_row, const torch::Tensor& values,
                                  std::int64_t count, bool largest) {
  std::vector<Extreme> heap;
  if (count <= 0) {
    return heap;
  }
  const auto* value = values.data_ptr<float>();
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    if (value[i] < 0) {
      continue;
    }
    const Extreme row(largest ? -value[i] : value[i], first_row + i);
    if (std::ssize(heap) < count) {
      heap.push_back(row);
      std::ranges::push_heap(heap);
    } else if (row < heap.front()) {
      std::ranges::pop_heap(heap);
      heap.back() = row;
      std::ranges::push_heap(heap);
    }
  }
  return heap;
}

}  // namespace

std::vector<std::int64_t> extreme_rows(const Communicator& communicator, std::int64_t first_row,
                                       const torch::Tensor& values, std::int64_t count,
                                       bool largest) {
  // A rank offers as many as could be wanted; -1 marks those that are none.
  auto offered = torch::full({count, 2}, -1.0, torch::kFloat64);
  const auto own = own_extremes(first_row, values.contiguous(), count, largest);
  for (std::size_t i = 0; i < own.size(); ++i) {
    offered.data_ptr<double>()[2 * i] = own[i].first;
    offered.data_ptr<double>()[2 * i + 1] = static_cast<double>(own[i].second);
  }
  auto all = torch::empty({count * communicator.size(), 2}, torch::kFloat64);
  communicator.all_gather(all, offered, Communicator::Counts(communicator.size(), count));
  std::vector<Extreme> candidates;
  const auto table = all.accessor<double, 2>();
  for (std::int64_t i = 0; i < all.size(0); ++i) {
    if (table[i][1] >= 0) {
      candidates.emplace_back(table[i][0], static_cast<std::int64_t>(table[i][1]));
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
