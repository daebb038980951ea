#include <string>
#include <vector>

#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/eigen_backends.h"
#include "eigenscale/linalg/scalapack.h"

namespace eigenscale {

DistributedEigenpairs scalapack_eigen(DistributedMatrix matrix) {
#ifdef EIGENSCALE_HAVE_SCALAPACK
  const auto& layout = matrix.layout();
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
  double best_work = 0;
  int best_integers = 0;
  solve(&best_work, -1, &best_integers, -1);
  // Room beyond what the query names costs little and an undersized work space ends the run.
  const int work_size = static_cast<int>(best_work) + 64 * n;
  auto work = torch::empty({work_size}, torch::kFloat64);
  std::vector<int> integers(best_integers + 8);
  solve(work.data_ptr<double>(), work_size, integers.data(), static_cast<int>(integers.size()));
  if (info != 0) {
    throw Error(ExitCode::kNumerical,
                "ScaLAPACK's pdsyevd failed with code " + std::to_string(info), true);
  }
  return {values, vectors};
#else
  (void)matrix;
  throw OptionError("this build has no ScaLAPACK, which eigenproblems over several ranks need");
#endif
}

}  // namespace eigenscale
