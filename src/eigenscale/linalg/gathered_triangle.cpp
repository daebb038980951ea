#include "eigenscale/linalg/gathered_triangle.h"

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace eigenscale {
namespace {

/// Work(first local row, local column, length, global row, global column) for neighbouring entries
/// of a rank's columns, from the diagonal down.
template <typename Work>
void for_each_run(const BlockCyclicLayout& layout, int rank, const Work& work) {
  const auto rows = layout.global_rows(rank);
  const auto columns = layout.global_columns(rank);
  const auto* row = rows.data_ptr<std::int64_t>();
  const auto* column = columns.data_ptr<std::int64_t>();
  const std::int64_t count = rows.numel();
  std::vector<std::int64_t> end(count, count);  // of the run that a row is in
  for (std::int64_t i = count - 2; i >= 0; --i) {
    end[i] = row[i + 1] == row[i] + 1 ? end[i + 1] : i + 1;
  }
  for (std::int64_t j = 0; j < columns.numel(); ++j) {
    std::int64_t i = std::lower_bound(row, row + count, column[j]) - row;
    for (; i < count; i = end[i]) {
      work(i, j, end[i] - i, row[i], column[j]);
    }
  }
}

std::int64_t triangle_entries(const BlockCyclicLayout& layout, int rank) {
  std::int64_t entries = 0;
  for_each_run(layout, rank,
               [&](auto, auto, std::int64_t length, auto, auto) { entries += length; });
  return entries;
}

}  // namespace

torch::Tensor gathered_triangle(const DistributedMatrix& matrix) {
  const auto& layout = matrix.layout();
  const Communicator& all = layout.grid->all();
  const std::int64_t n = layout.rows;
  const bool first = all.rank() == 0;
  const auto whole = empty_column_major(first ? n : 0, first ? n : 0, torch::kFloat64);
  Communicator::Counts sent(all.size(), 0);
  Communicator::Counts received(all.size(), 0);
  if (first) {
    for (int rank = 1; rank < all.size(); ++rank) {
      received[rank] = triangle_entries(layout, rank);
    }
  } else {
    sent[0] = triangle_entries(layout, all.rank());
  }
  const auto outgoing = torch::empty({sent[0]}, torch::kFloat64);
  const auto incoming = torch::empty(
      {std::accumulate(received.begin(), received.end(), std::int64_t{0})}, torch::kFloat64);
  auto* target = whole.data_ptr<double>();
  auto* packed = outgoing.data_ptr<double>();
  const auto* own = matrix.local().data_ptr<double>();
  for_each_run(
      layout, all.rank(),
      [&, stride = matrix.leading_dimension()](std::int64_t i, std::int64_t j, std::int64_t length,
                                               std::int64_t row, std::int64_t column) {
        const auto* from = own + i + j * stride;
        if (first) {
          std::copy_n(from, length, target + row + column * n);
        } else {
          packed = std::copy_n(from, length, packed);
        }
      });
  all.all_to_all(incoming, outgoing, received, sent);
  const auto* arrived = incoming.data_ptr<double>();
  for (int rank = 1; first && rank < all.size(); ++rank) {
    for_each_run(layout, rank,
                 [&](auto, auto, std::int64_t length, std::int64_t row, std::int64_t column) {
                   std::copy_n(arrived, length, target + row + column * n);
                   arrived += length;
                 });
  }
  return whole;
}

}  // namespace eigenscale
