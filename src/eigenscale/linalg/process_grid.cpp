#include "eigenscale/linalg/process_grid.h"

#include <cmath>
#include <string>

#include "eigenscale/core/errors.h"
#ifdef EIGENSCALE_HAVE_SCALAPACK
#include "eigenscale/comm/mpi_communicator.h"
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
  blacs_context_ = Csys2blacs_handle(mpi_handle(all));
  char order[] = "Row";
  Cblacs_gridinit(&blacs_context_, order, rows, columns);
#endif
}

ProcessGrid::~ProcessGrid() {
#ifdef EIGENSCALE_HAVE_SCALAPACK
  // Frees BLACS' own communicators, which is collective. Grids are destroyed in the same order on
  // all ranks; when an error unwinds one rank alone, the abort that follows ends the wait.
  Cblacs_gridexit(blacs_context_);
#endif
}

std::pair<int, int> ProcessGrid::squarest(int ranks) {
  int columns = static_cast<int>(std::sqrt(static_cast<double>(ranks)));
  while (ranks % columns != 0) {
    --columns;
  }
  return {ranks / columns, columns};
}

}  // namespace eigenscale
