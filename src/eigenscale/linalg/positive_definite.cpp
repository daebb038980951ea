#include "eigenscale/linalg/positive_definite.h"

#include <cmath>
#include <stdexcept>

#include "eigenscale/comm/threads.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/block_cyclic_layout.h"
#include "eigenscale/linalg/scalapack.h"

namespace eigenscale {
namespace {

DistributedMatrix shifted(const DistributedMatrix& matrix, double shift) {
  auto result = matrix.clone();
  const auto own = own_diagonal(matrix.layout());
  result.local().index_put_({own.rows, own.columns},
                            result.local().index({own.rows, own.columns}) + shift);
  return result;
}

/// [local] Of a matrix that this rank has whole; destroys it.
bool has_factor(const DistributedMatrix& matrix) {
  const int n = static_cast<int>(matrix.layout().rows);
  const int leading = static_cast<int>(matrix.leading_dimension());
  int info = 0;
  dpotrf_("L", &n, matrix.local().data_ptr<double>(), &leading, &info);
  return info == 0;
}

/// [collective] Of a matrix in square blocks; destroys it.
bool has_distributed_factor([[maybe_unused]] const DistributedMatrix& matrix) {
#ifdef EIGENSCALE_HAVE_SCALAPACK
  const int n = static_cast<int>(matrix.layout().rows);
  const auto descriptor = matrix.layout().descriptor(static_cast<int>(matrix.leading_dimension()));
  const int one = 1;
  int info = 0;
  pdpotrf_("L", &n, matrix.local().data_ptr<double>(), &one, &one, descriptor.data(), &info);
  return info == 0;
#else
  throw OptionError("this build has no ScaLAPACK, which Cholesky over several ranks needs");
#endif
}

}  // namespace

bool is_positive_definite(const DistributedMatrix& matrix, double shift) {
  const auto& layout = matrix.layout();
  if (layout.rows != layout.columns || !layout.has_square_blocks()) {
    throw std::invalid_argument("a Cholesky factor of a matrix without square blocks");
  }
  const Communicator& all = layout.grid->all();
  bool positive = true;
  if (all.size() == 1) {
    positive = has_factor(shifted(matrix, shift));
  } else {
    const WatchedCall watched("a Cholesky factor", 8 * layout.rows * layout.rows,
                              1e-9 * std::pow(layout.rows, 3));
    if (layout.lies_on_first()) {
      on_first_with_all_threads(all, [&] { positive = has_factor(shifted(matrix, shift)); });
    } else {
      positive = has_distributed_factor(shifted(matrix, shift));
    }
  }
  // Ranks that factorise together agree about the pivot, but "agree" is what is asked for.
  return all_reduce(all, std::int64_t{positive ? 0 : 1}) == 0;
}

}  // namespace eigenscale
