#include "eigenscale/linalg/process_grid.h"

#include <cmath>
#include <string>

#include "eigenscale/core/errors.h"
#ifdef EIGENSCALE_HAVE_SCALAPACK
#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/linalg/scalapack.h"
#endif

namespace eigenscale {

ProcessGrid::ProcessGrid(const Communicator& all, int rows, int columns)
    : all_(all), rows_(rows), columns_(columns) {
  if (rows < 1 || columns < 1 || rows * columns != all.size()) {
    throw Error(ExitCode::kOptions,
                "a grid of " + std::to_string(rows) + "x" + std::to_string(columns) +
                    " processes does not fit " + std::to_string(all.size()) + " ranks",
                true);
  }
  row_ = all.split(row_index(), column_index());
  column_ = all.split(column_index(), row_index());
#ifdef EIGENSCALE_HAVE_SCALAPACK
  blacs_context_ = Csys2blacs_handle(library_handle(all));
  char order[] = "Row";
  const WatchedCall watched("BLACS's gridinit", 0);
  Cblacs_gridinit(&blacs_context_, order, rows, columns);
  Environment::at_finalize([context = blacs_context_] { Cblacs_gridexit(context); });
#endif
}

bool ProcessGrid::supports(int ranks) {
#ifdef EIGENSCALE_HAVE_SCALAPACK
  return ranks >= 1;
#else
  return ranks == 1;
#endif
}

void ProcessGrid::require(int ranks) {
  if (!supports(ranks)) {
    throw Error(ExitCode::kOptions,
                "this build has no ScaLAPACK, which matrices over several ranks need; run on one "
                "rank or build with it",
                true);
  }
}

std::shared_ptr<const ProcessGrid> ProcessGrid::as_column() const {
  if (columns_ == 1) {
    return shared_from_this();
  }
  if (!as_column_) {
    as_column_ = std::make_shared<const ProcessGrid>(all_, all_.size(), 1);
  }
  return as_column_;
}

std::shared_ptr<const ProcessGrid> ProcessGrid::as_row() const {
  if (rows_ == 1) {
    return shared_from_this();
  }
  if (!as_row_) {
    as_row_ = std::make_shared<const ProcessGrid>(all_, 1, all_.size());
  }
  return as_row_;
}

std::pair<int, int> ProcessGrid::squarest(int ranks) {
  int columns = static_cast<int>(std::sqrt(static_cast<double>(ranks)));
  while (ranks % columns != 0) {
    --columns;
  }
  return {ranks / columns, columns};
}

}  // namespace eigenscale
