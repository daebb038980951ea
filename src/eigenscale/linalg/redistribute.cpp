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

/// Positions within sorted `own` of the indices that sorted `other` has, too.
torch::Tensor common_positions(const torch::Tensor& own, const torch::Tensor& other) {
  std::vector<std::int64_t> positions;
  const auto* a = own.data_ptr<std::int64_t>();
  const auto* b = other.data_ptr<std::int64_t>();
  std::int64_t j = 0;
  for (std::int64_t i = 0; i < own.numel(); ++i) {
    while (j < other.numel() && b[j] < a[i]) {
      ++j;
    }
    if (j < other.numel() && b[j] == a[i]) {
      positions.push_back(i);
    }
  }
  return torch::tensor(positions, torch::kInt64);
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
    const std::int64_t size = their_rows.numel() * their_columns.numel();
    if (size > 0) {
      auto piece = packed.narrow(0, offset, size).view({their_columns.numel(), their_rows.numel()});
      piece.copy_(view.t().index_select(0, their_columns).index_select(1, their_rows));
    }
    send_counts.push_back(size);
    offset += size;
  }

  const auto want_rows = to.rows(me);
  const auto want_columns = to.columns(me);
  std::vector<torch::Tensor> row_positions;
  std::vector<torch::Tensor> column_positions;
  Communicator::Counts receive_counts;
  for (int rank = 0; rank < all.size(); ++rank) {
    row_positions.push_back(common_positions(want_rows, from.rows(rank)));
    column_positions.push_back(common_positions(want_columns, from.columns(rank)));
    receive_counts.push_back(row_positions.back().numel() * column_positions.back().numel());
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
      const auto piece = received.narrow(0, offset, receive_counts[rank])
                             .view({column_positions[rank].numel(), row_positions[rank].numel()});
      auto transposed_local = result.local().t();
      transposed_local.index_put_(
          {column_positions[rank].unsqueeze(1), row_positions[rank].unsqueeze(0)}, piece);
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
