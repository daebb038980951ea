#include "eigenscale/linalg/positive_definite.h"

#include <cmath>
#include <stdexcept>

#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/block_cyclic_layout.h"
#include "eigenscale/linalg/scalapack.h"

namespace eigenscale {

bool is_positive_definite(const DistributedMatrix& matrix, double shift) {
  const auto& layout = matrix.layout();
  if (layout.rows != layout.columns || !layout.has_square_blocks()) {
    throw std::invalid_argument("a Cholesky factor of a matrix without square blocks");
  }
  const Communicator& all = layout.grid->all();
  auto factor = matrix.clone();
  const auto own = own_diagonal(layout);
  factor.local().index_put_({own.rows, own.columns},
                            factor.local().index({own.rows, own.columns}) + shift);
  const int n = static_cast<int>(layout.rows);
  const int leading = static_cast<int>(factor.leading_dimension());
  auto* values = factor.local().data_ptr<double>();
  int info = 0;
  if (all.size() == 1) {
    dpotrf_("L", &n, values, &leading, &info);
  } else {
#ifdef EIGENSCALE_HAVE_SCALAPACK
    const auto descriptor = layout.descriptor(leading);
    const int one = 1;
    const WatchedCall watched("ScaLAPACK's pdpotrf", factor.local().nbytes(),
                              1e-9 * std::pow(n, 3) / all.size());
    pdpotrf_("L", &n, values, &one, &one, descriptor.data(), &info);
#else
    throw OptionError("this build has no ScaLAPACK, which Cholesky over several ranks needs");
#endif
  }
  // Ranks agree about the pivot, but "agree" is what is asked for.
  return all_reduce(all, std::int64_t{info == 0 ? 0 : 1}) == 0;
}

}  // namespace eigenscale
