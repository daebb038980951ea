#include "eigenscale/cluster/threshold.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/redistribute.h"

namespace eigenscale {
namespace {

/// Of `count` values one behind the other.
template <typename Value>
void threshold_values(Value* values, std::int64_t count, double share,
                      std::vector<std::pair<Value, std::int64_t>>& heap) {
  heap.clear();
  double norm = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (values[i] != 0) {
      heap.emplace_back(std::abs(values[i]), -i);
      norm += std::abs(static_cast<double>(values[i]));
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
  for (const auto& [magnitude, negative_index] : heap) {
    values[-negative_index] = 0;
  }
}

template <typename Value>
void keep_largest(Value* column, std::int64_t rows, std::int64_t count,
                  std::vector<std::pair<Value, std::int64_t>>& order) {
  order.clear();
  for (std::int64_t row = 0; row < rows; ++row) {
    order.emplace_back(-std::abs(column[row]), row);
  }
  if (count < rows) {
    std::ranges::nth_element(order, order.begin() + count);
    for (auto dropped = order.begin() + count; dropped != order.end(); ++dropped) {
      column[dropped->second] = 0;
    }
  }
}

/// Deals the matrix out by whole columns and calls cut(column, rows, its global index, scratch) for
/// each.
template <typename Cut>
DistributedMatrix cut_columns(const DistributedMatrix& matrix, const Cut& cut) {
  const auto& from = matrix.layout();
  const RowPartition partition(from.columns, from.grid->all().size());
  auto result = redistribute(matrix, {from.rows, from.columns, std::max<std::int64_t>(1, from.rows),
                                      partition.block(), from.grid->as_row()});
  const auto& local = result.local();
  const std::int64_t first = partition.range(from.grid->all().rank()).begin;
  AT_DISPATCH_FLOATING_TYPES(local.scalar_type(), "cut_columns", [&] {
    std::vector<std::pair<scalar_t, std::int64_t>> scratch;
    for (std::int64_t j = 0; j < local.size(1); ++j) {
      cut(local.data_ptr<scalar_t>() + j * local.stride(1), local.size(0), first + j, scratch);
    }
  });
  return result;
}

}  // namespace

DistributedMatrix threshold_columns(const DistributedMatrix& coefficients, double share,
                                    bool drop_diagonal) {
  return cut_columns(coefficients,
                     [&](auto* column, std::int64_t rows, std::int64_t j, auto& scratch) {
                       if (drop_diagonal) {
                         column[j] = 0;
                       }
                       threshold_values(column, rows, share, scratch);
                     });
}

DistributedMatrix keep_neighbours(const DistributedMatrix& coefficients, std::int64_t count) {
  return cut_columns(coefficients,
                     [&](auto* column, std::int64_t rows, std::int64_t j, auto& scratch) {
                       column[j] = 0;
                       keep_largest(column, rows, count, scratch);
                     });
}

void threshold_rows(const torch::Tensor& rows, double share) {
  AT_DISPATCH_FLOATING_TYPES(rows.scalar_type(), "threshold_rows", [&] {
    std::vector<std::pair<scalar_t, std::int64_t>> heap;
    for (std::int64_t i = 0; i < rows.size(0); ++i) {
      threshold_values(rows.data_ptr<scalar_t>() + i * rows.size(1), rows.size(1), share, heap);
    }
  });
}

}  // namespace eigenscale
