#pragma once

#include <memory>
#include <utility>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// The ranks of a communicator as a rows x columns grid, row-major: rank = row * columns + column.
/// Borrows the communicator it is made of; owns its row and column communicators. The BLACS context
/// it makes where ScaLAPACK is built in lives until MPI is finalised, since freeing it is
/// collective. Shared by the matrices that live on it, and always held by a shared_ptr.
class ProcessGrid : public std::enable_shared_from_this<ProcessGrid> {
 public:
  /// [collective] OptionError (on all ranks) unless rows * columns is the number of ranks.
  ProcessGrid(const Communicator& all, int rows, int columns);
  ProcessGrid(const ProcessGrid&) = delete;
  ProcessGrid& operator=(const ProcessGrid&) = delete;

  /// [local] Whether this build multiplies and decomposes matrices over so many ranks: more than
  /// one need ScaLAPACK.
  static bool supports(int ranks);
  /// [local] OptionError (on all ranks) unless it does.
  static void require(int ranks);

  /// [local] The factors of `ranks` closest to each other, the larger first.
  static std::pair<int, int> squarest(int ranks);

  const Communicator& all() const { return all_; }
  /// The ranks of this process row, ordered by column; of this process column, ordered by row.
  const Communicator& row() const { return *row_; }
  const Communicator& column() const { return *column_; }
  int rows() const { return rows_; }
  int columns() const { return columns_; }
  int row_index() const { return all_.rank() / columns_; }
  int column_index() const { return all_.rank() % columns_; }
  int row_index(int rank) const { return rank / columns_; }
  int column_index(int rank) const { return rank % columns_; }
  /// [collective] All ranks as one column (P x 1) or one row (1 x P) of processes; made once.
  std::shared_ptr<const ProcessGrid> as_column() const;
  std::shared_ptr<const ProcessGrid> as_row() const;
  /// Handle for ScaLAPACK; -1 in builds without it.
  int blacs_context() const { return blacs_context_; }

 private:
  const Communicator& all_;
  int rows_;
  int columns_;
  std::unique_ptr<Communicator> row_;
  std::unique_ptr<Communicator> column_;
  int blacs_context_ = -1;
  mutable std::shared_ptr<const ProcessGrid> as_column_;
  mutable std::shared_ptr<const ProcessGrid> as_row_;
};

}  // namespace eigenscale
