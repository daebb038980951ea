#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/eigen_backends.h"
#include "eigenscale/linalg/scalapack.h"

namespace eigenscale {

void require_scalapack_workspace(const BlockCyclicLayout& layout) {
  constexpr double kMost = std::numeric_limits<std::int32_t>::max();
  const auto n = static_cast<double>(layout.rows);
  const auto entries =
      static_cast<double>(layout.local_rows(0)) * static_cast<double>(layout.local_columns(0));
  // As its documentation counts, and the room added to it below.
  if (2 * entries + 80 * n < kMost) {
    return;
  }
  const double ranks = std::ceil(1.1 * 2 * n * n / std::max(kMost - 80 * n, 1.0));
  throw Error(ExitCode::kOptions,
              "ScaLAPACK's pdsyevd on a matrix of size " + std::to_string(layout.rows) +
                  " needs a work space of 2^31 numbers or more on a rank; use at least " +
                  std::to_string(static_cast<std::int64_t>(ranks)) +
                  " ranks or a build with ELPA, which needs none",
              true);
}

DistributedEigenpairs scalapack_eigen(DistributedMatrix matrix) {
#ifdef EIGENSCALE_HAVE_SCALAPACK
  const auto& layout = matrix.layout();
  const Communicator& all = layout.grid->all();
  require_scalapack_workspace(layout);
  const int n = static_cast<int>(layout.rows);
  auto values = torch::empty({n}, torch::kFloat64);
  auto vectors = DistributedMatrix::zeros(layout, torch::kFloat64);
  const auto descriptor = layout.descriptor(matrix.leading_dimension());
  const auto vector_descriptor = layout.descriptor(vectors.leading_dimension());
  const int one = 1;
  int info = 0;
  const auto solve = [&](double* work, int work_size, int* integers, int integer_size) {
    pdsyevd_("V", "L", &n, matrix.local().data_ptr<double>(), &one, &one, descriptor.data(),
             values.data_ptr<double>(), vectors.local().data_ptr<double>(), &one, &one,
             vector_descriptor.data(), work, &work_size, integers, &integer_size, &info);
  };
  // Its eigenvalues alone are some 9 n^3 operations, at a speed that no machine falls short of.
  const WatchedCall watched("ScaLAPACK's pdsyevd", 8 * matrix.local().numel(),
                            9e-9 * std::pow(n, 3) / all.size());
  double best_work = 0;
  int best_integers = 0;
  solve(&best_work, -1, &best_integers, -1);
  // Room beyond what the query names costs little and an undersized work space ends the run.
  const int work_size = static_cast<int>(best_work) + 64 * n;
  auto work = torch::empty({work_size}, torch::kFloat64);
  std::vector<int> integers(best_integers + 8);
  solve(work.data_ptr<double>(), work_size, integers.data(), static_cast<int>(integers.size()));
  on_all_ranks(all, [&] {
    if (info != 0) {
      throw NumericalError("ScaLAPACK's pdsyevd failed with code " + std::to_string(info));
    }
  });
  return {values, vectors};
#else
  (void)matrix;
  throw OptionError("this build has no ScaLAPACK, which eigenproblems over several ranks need");
#endif
}

}  // namespace eigenscale
