#include <algorithm>
#include <cmath>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/eigen_backends.h"
#ifdef EIGENSCALE_HAVE_ELPA
#include <elpa/elpa.h>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/comm/watchdog.h"
#endif

#ifdef EIGENSCALE_HAVE_ELPA
// Exported by ELPA for its Fortran interface, not declared in its C headers.
extern "C" {
int elpa_option_cardinality(char* name);
int elpa_option_enumerate(char* name, int i);
int elpa_int_value_to_string(char* name, int value, const char** text);
}
#endif

namespace eigenscale {

std::int64_t elpa_pairs(std::int64_t n, EigenRange range) {
  if (range.kind == EigenRange::Kind::kAll) {
    return n;
  }
  const std::int64_t wanted =
      range.kind == EigenRange::Kind::kLargestMagnitude ? 2 * range.count : range.count;
  // From about this share on (an estimate) all pairs cost no more than the wanted ones.
  return 4 * wanted > n ? n : wanted;
}

#ifdef EIGENSCALE_HAVE_ELPA
namespace {

constexpr int kElpaApi = 20211125;

void require_elpa_success(int code, const char* call) {
  if (code != ELPA_OK) {
    throw NumericalError(std::string("ELPA's ") + call + " failed with code " +
                         std::to_string(code));
  }
}

/// Owns an ELPA handle. Deallocation is local.
class Handle {
 public:
  Handle() {
    static std::once_flag once;
    std::call_once(once, [] { require_elpa_success(elpa_init(kElpaApi), "elpa_init"); });
    int error = 0;
    handle_ = elpa_allocate(&error);
    require_elpa_success(error, "elpa_allocate");
  }
  ~Handle() {
    int ignored = 0;
    elpa_deallocate(handle_, &ignored);
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  void set(const char* name, std::int64_t value) {
    int error = 0;
    elpa_set_integer(handle_, name, static_cast<int>(value), &error);
    require_elpa_success(error, name);
  }
  elpa_t get() const { return handle_; }

 private:
  elpa_t handle_ = nullptr;
};

}  // namespace

bool elpa_can_solve(const BlockCyclicLayout& layout) {
  // Every process must own a block.
  const auto& grid = *layout.grid;
  const std::int64_t blocks = (layout.rows + layout.row_block - 1) / layout.row_block;
  return layout.has_square_blocks() && blocks >= std::max(grid.rows(), grid.columns());
}

DistributedEigenpairs elpa_eigen(DistributedMatrix matrix, std::int64_t count, bool two_stage) {
  const auto& layout = matrix.layout();
  const Communicator& all = layout.grid->all();
  auto values = torch::empty({layout.rows}, torch::kFloat64);
  auto vectors = DistributedMatrix::zeros(layout, torch::kFloat64);
  // Parameters may be refused, and a solve may fail, on one rank alone.
  std::optional<Handle> owner;
  const MPI_Comm parent = library_handle(all);
  on_all_ranks(all, [&] {
    Handle& handle = owner.emplace();
    handle.set("na", layout.rows);
    handle.set("nev", count);
    handle.set("local_nrows", matrix.leading_dimension());
    handle.set("local_ncols", matrix.local().size(1));
    handle.set("nblk", layout.row_block);
    handle.set("mpi_comm_parent", MPI_Comm_c2f(parent));
    handle.set("process_row", layout.grid->row_index());
    handle.set("process_col", layout.grid->column_index());
  });
  const WatchedCall watched("ELPA's elpa_eigenvectors", 8 * matrix.local().numel(),
                            9e-9 * std::pow(static_cast<double>(layout.rows), 3) / all.size());
  const int code = elpa_setup(owner->get());
  on_all_ranks(all, [&] {
    require_elpa_success(code, "elpa_setup");
    owner->set("solver", two_stage ? ELPA_SOLVER_2STAGE : ELPA_SOLVER_1STAGE);
  });
  int error = 0;
  elpa_eigenvectors_double(owner->get(), matrix.local().data_ptr<double>(),
                           values.data_ptr<double>(), vectors.local().data_ptr<double>(), &error);
  on_all_ranks(all, [&] { require_elpa_success(error, "elpa_eigenvectors"); });
  return {values.narrow(0, 0, count).clone(), vectors};
}

std::vector<std::string> elpa_kernels() {
  std::vector<std::string> names;
  const Handle handle;
  int error = 0;
  elpa_set_integer(handle.get(), "solver", ELPA_SOLVER_2STAGE, &error);
  char option[] = "real_kernel";
  const int count = elpa_option_cardinality(option);
  for (int i = 0; i < count; ++i) {
    const int kernel = elpa_option_enumerate(option, i);
    const char* name = nullptr;
    elpa_set_integer(handle.get(), option, kernel, &error);
    if (error == ELPA_OK && elpa_int_value_to_string(option, kernel, &name) == ELPA_OK) {
      names.emplace_back(name);
    }
  }
  return names;
}
#else
bool elpa_can_solve(const BlockCyclicLayout&) { return false; }

std::vector<std::string> elpa_kernels() { return {}; }

DistributedEigenpairs elpa_eigen(DistributedMatrix, std::int64_t, bool) {
  throw OptionError("this build has no ELPA");
}
#endif

std::vector<std::string> eigen_solvers() {
  std::vector<std::string> solvers = {"LAPACK (OpenBLAS)"};
#ifdef EIGENSCALE_HAVE_SCALAPACK
  solvers.emplace_back("ScaLAPACK pdsyevd");
#endif
#ifdef EIGENSCALE_HAVE_ELPA
  solvers.emplace_back("ELPA one-stage");
  solvers.emplace_back("ELPA two-stage");
#endif
  return solvers;
}

}  // namespace eigenscale
