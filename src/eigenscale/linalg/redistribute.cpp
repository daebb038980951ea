#include "eigenscale/linalg/redistribute.h"

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace eigenscale {
namespace {

/// The global indices that each rank holds of one dimension of a layout, by function.
struct Side {
  const BlockCyclicLayout& layout;
  bool transposed;

  // Rows of the matrix that travels: columns of the stored one when it is transposed on the way.
  torch::Tensor rows(int rank) const {
    return transposed ? layout.global_columns(rank) : layout.global_rows(rank);
  }
  torch::Tensor columns(int rank) const {
    return transposed ? layout.global_rows(rank) : layout.global_columns(rank);
  }
};

/// Neighbouring positions.
struct Run {
  std::int64_t position = 0;
  std::int64_t length = 0;
};

struct Positions {
  std::vector<Run> runs;
  std::int64_t count = 0;
};

/// Positions within sorted `own` of the indices that sorted `other` has, too.
Positions common_positions(const torch::Tensor& own, const torch::Tensor& other) {
  Positions result;
  const auto* a = own.data_ptr<std::int64_t>();
  const auto* b = other.data_ptr<std::int64_t>();
  std::int64_t j = 0;
  for (std::int64_t i = 0; i < own.numel(); ++i) {
    while (j < other.numel() && b[j] < a[i]) {
      ++j;
    }
    if (j == other.numel() || b[j] != a[i]) {
      continue;
    }
    if (result.runs.empty() || result.runs.back().position + result.runs.back().length != i) {
      result.runs.push_back({i, 0});
    }
    ++result.runs.back().length;
    ++result.count;
  }
  return result;
}

/// Calls work(part of `whole`, part of `piece`) for the rectangles of `whole` at these positions,
/// which stand side by side in `piece`.
template <typename Work>
void for_each_rectangle(const torch::Tensor& whole, const Positions& rows, const Positions& columns,
                        const torch::Tensor& piece, const Work& work) {
  std::int64_t row = 0;
  for (const Run& across : rows.runs) {
    const auto whole_rows = whole.narrow(0, across.position, across.length);
    const auto piece_rows = piece.narrow(0, row, across.length);
    std::int64_t column = 0;
    for (const Run& along : columns.runs) {
      work(whole_rows.narrow(1, along.position, along.length),
           piece_rows.narrow(1, column, along.length));
      column += along.length;
    }
    row += across.length;
  }
}

DistributedMatrix move(const DistributedMatrix& matrix, const BlockCyclicLayout& target,
                       bool transposed) {
  const auto& source = matrix.layout();
  const std::int64_t rows = transposed ? source.columns : source.rows;
  const std::int64_t columns = transposed ? source.rows : source.columns;
  if (target.rows != rows || target.columns != columns) {
    throw std::invalid_argument("redistribution cannot change the shape of a matrix");
  }
  if (!transposed && source == target) {
    return matrix.clone();
  }
  const Communicator& all = source.grid->all();
  const int me = all.rank();
  const Side from{source, transposed};
  const Side to{target, false};
  const auto view = transposed ? matrix.local().t() : matrix.local();

  // Send: for every rank, what I have of its rows and columns; packed column by column.
  const auto have_rows = from.rows(me);
  const auto have_columns = from.columns(me);
  Communicator::Counts send_counts;
  auto packed = torch::empty({matrix.local().numel()}, matrix.local().options());
  std::int64_t offset = 0;
  for (int rank = 0; rank < all.size(); ++rank) {
    const auto their_rows = common_positions(have_rows, to.rows(rank));
    const auto their_columns = common_positions(have_columns, to.columns(rank));
    const std::int64_t size = their_rows.count * their_columns.count;
    if (size > 0) {
      for_each_rectangle(
          view.t(), their_columns, their_rows,
          packed.narrow(0, offset, size).view({their_columns.count, their_rows.count}),
          [](const torch::Tensor& part, const torch::Tensor& piece) { piece.copy_(part); });
    }
    send_counts.push_back(size);
    offset += size;
  }

  const auto want_rows = to.rows(me);
  const auto want_columns = to.columns(me);
  std::vector<Positions> row_positions;
  std::vector<Positions> column_positions;
  Communicator::Counts receive_counts;
  for (int rank = 0; rank < all.size(); ++rank) {
    row_positions.push_back(common_positions(want_rows, from.rows(rank)));
    column_positions.push_back(common_positions(want_columns, from.columns(rank)));
    receive_counts.push_back(row_positions.back().count * column_positions.back().count);
  }
  require_indexable(target);
  auto result = DistributedMatrix(
      target,
      empty_column_major(target.local_rows(), target.local_columns(), matrix.scalar_type()));
  auto received = torch::empty({result.local().numel()}, packed.options());
  all.all_to_all(received, packed, receive_counts, send_counts);
  packed.reset();

  offset = 0;
  for (int rank = 0; rank < all.size(); ++rank) {
    if (receive_counts[rank] > 0) {
      for_each_rectangle(
          result.local().t(), column_positions[rank], row_positions[rank],
          received.narrow(0, offset, receive_counts[rank])
              .view({column_positions[rank].count, row_positions[rank].count}),
          [](const torch::Tensor& part, const torch::Tensor& piece) { part.copy_(piece); });
    }
    offset += receive_counts[rank];
  }
  return result;
}

}  // namespace

DistributedMatrix redistribute(const DistributedMatrix& matrix, const BlockCyclicLayout& target) {
  return move(matrix, target, false);
}

DistributedMatrix redistribute_transposed(const DistributedMatrix& matrix,
                                          const BlockCyclicLayout& target) {
  return move(matrix, target, true);
}

}  // namespace eigenscale
