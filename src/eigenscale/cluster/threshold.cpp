#include "eigenscale/cluster/threshold.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/redistribute.h"

namespace eigenscale {
namespace {

template <typename Value>
void threshold_column(Value* column, std::int64_t rows, double share,
                      std::vector<std::pair<Value, std::int64_t>>& heap) {
  heap.clear();
  double norm = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    if (column[row] != 0) {
      heap.emplace_back(std::abs(column[row]), -row);
      norm += std::abs(static_cast<double>(column[row]));
    }
  }
  // A heap, not a sort: at the usual shares a few of thousands of entries are kept.
  std::ranges::make_heap(heap);
  double kept = 0;
  while (!heap.empty() && kept <= share * norm) {
    kept += static_cast<double>(heap.front().first);
    std::ranges::pop_heap(heap);
    heap.pop_back();
  }
  for (const auto& [magnitude, negative_row] : heap) {
    column[-negative_row] = 0;
  }
}

}  // namespace

DistributedMatrix threshold_columns(const DistributedMatrix& coefficients, double share,
                                    bool drop_diagonal) {
  const auto& from = coefficients.layout();
  const int ranks = from.grid->all().size();
  const RowPartition partition(from.columns, ranks);
  auto result =
      redistribute(coefficients, {from.rows, from.columns, std::max<std::int64_t>(1, from.rows),
                                  partition.block(), from.grid->as_row()});
  const auto& local = result.local();
  const std::int64_t first = partition.range(from.grid->all().rank()).begin;
  AT_DISPATCH_FLOATING_TYPES(local.scalar_type(), "threshold_columns", [&] {
    std::vector<std::pair<scalar_t, std::int64_t>> heap;
    for (std::int64_t j = 0; j < local.size(1); ++j) {
      scalar_t* column = local.data_ptr<scalar_t>() + j * local.stride(1);
      if (drop_diagonal) {
        column[first + j] = 0;
      }
      threshold_column(column, local.size(0), share, heap);
    }
  });
  return result;
}

}  // namespace eigenscale
