#include "eigenscale/linalg/symmetric_eigen.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <utility>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/linalg/eigen_backends.h"
#include "eigenscale/linalg/products.h"
#include "eigenscale/linalg/redistribute.h"
#include "eigenscale/linalg/row_blocks.h"

namespace eigenscale {
namespace {

using Kind = EigenRange::Kind;

/// Values in any order and the own rows of their vectors.
struct Pairs {
  torch::Tensor values;
  torch::Tensor rows;
};

BlockCyclicLayout square_blocks(const BlockCyclicLayout& layout) {
  if (layout.has_square_blocks()) {
    return layout;
  }
  return square_layout(layout.rows, layout.grid);
}

/// [collective]
EigenSolver choose(const BlockCyclicLayout& layout, EigenRange range, bool one_rank) {
  const int ranks = layout.grid->all().size();
  if (ranks == 1) {
    return EigenSolver::kLapack;
  }
  const auto n = static_cast<double>(layout.rows);
  const double share = range.kind == Kind::kAll ? 1 : static_cast<double>(range.count) / n;
  if (one_rank && one_rank_is_faster(layout.rows, ranks) && one_rank_can_solve(layout)) {
    return EigenSolver::kLapack;
  }
  if (!elpa_can_solve(layout)) {
    return EigenSolver::kScalapack;
  }
  // The two-stage solver's reduction is cheaper where a matrix does not fit the cache, and its
  // back-transformation dearer for every vector: below a share of vectors that grows with the size
  // it wins. docs/performance.md has the measurements this line goes through.
  const double break_even = 0.02 + 0.18 * std::min((n - 2000) / 2000, 1.0);
  return n >= 2000 && share < break_even ? EigenSolver::kElpaTwoStage : EigenSolver::kElpaOneStage;
}

/// The first `count` columns, without a copy.
DistributedMatrix leading_columns(const DistributedMatrix& matrix, std::int64_t count) {
  auto layout = matrix.layout();
  layout.columns = count;
  return {layout, matrix.local().narrow(1, 0, layout.local_columns())};
}

/// A power of two that brings the entry of largest magnitude, `largest`, near 1: backends compare
/// with absolute bounds and square what they are given. 1 for a matrix of zeros.
double power_of_two_for(double largest) {
  if (largest == 0) {
    return 1;
  }
  int exponent = 0;
  std::frexp(largest, &exponent);
  // The factor and its inverse are normal numbers.
  return std::ldexp(1.0, std::clamp(-exponent, -1000, 1000));
}

/// A copy of `matrix` times `factor`, for a backend to destroy.
DistributedMatrix scaled(const DistributedMatrix& matrix, double factor) {
  // Column-major again, and written once.
  return {matrix.layout(), matrix.local().t().mul(factor).contiguous().t()};
}

/// `count` smallest pairs by ELPA, with the own rows of the vectors.
Pairs elpa_smallest(DistributedMatrix matrix, std::int64_t count, bool two_stage,
                    const RowPartition& partition) {
  const auto pairs = elpa_eigen(std::move(matrix), count, two_stage);
  return {pairs.values, to_row_blocks(leading_columns(pairs.vectors, count), partition)};
}

/// `count` largest pairs: the smallest of -A.
Pairs elpa_largest(const DistributedMatrix& matrix, double factor, std::int64_t count,
                   bool two_stage, const RowPartition& partition) {
  auto pairs = elpa_smallest(scaled(matrix, -factor), count, two_stage, partition);
  pairs.values.neg_();
  return pairs;
}

/// `count` pairs of either end. Where an eigenspace reaches both ends (the null space of a matrix
/// of low rank), two solves would find vectors of it that know nothing of each other. So the second
/// one is of A + s V V^T, V the vectors of the upper end: that lifts them above all others, and
/// what remains at the lower end is orthogonal to them.
Pairs elpa_both_ends(const DistributedMatrix& matrix, double factor, std::int64_t count,
                     bool two_stage, const RowPartition& partition) {
  auto high = elpa_eigen(scaled(matrix, -factor), count, two_stage);
  high.values.neg_();
  const auto vectors = leading_columns(high.vectors, count);
  auto lifted = scaled(matrix, factor);
  {
    const double lift = 2 * high.values.abs().max().item<double>() + 1;
    const auto projector = multiply(vectors, vectors, false, true);
    lifted.local().add_(projector.local(), lift);
  }
  const auto rows = to_row_blocks(vectors, partition);
  high.vectors = {};
  const auto low = elpa_smallest(std::move(lifted), count, two_stage, partition);
  return {torch::cat({low.values, high.values}), torch::cat({low.rows, rows}, 1)};
}

Pairs solve_elpa(const DistributedMatrix& matrix, double factor, EigenRange range, bool two_stage,
                 const RowPartition& partition) {
  const std::int64_t n = matrix.layout().rows;
  // From about this share on (an estimate) all pairs cost no more than the wanted ones.
  const bool all = range.kind == Kind::kAll || 4 * range.count > n ||
                   (range.kind == Kind::kLargestMagnitude && 8 * range.count > n);
  if (all) {
    return elpa_smallest(scaled(matrix, factor), n, two_stage, partition);
  }
  switch (range.kind) {
    case Kind::kLargest:
      return elpa_largest(matrix, factor, range.count, two_stage, partition);
    case Kind::kSmallest:
      return elpa_smallest(scaled(matrix, factor), range.count, two_stage, partition);
    default:
      return elpa_both_ends(matrix, factor, range.count, two_stage, partition);
  }
}

/// The pairs of `factor` times the matrix.
Pairs solve(const DistributedMatrix& matrix, double factor, EigenRange range, EigenSolver solver) {
  const auto& layout = matrix.layout();
  const RowPartition partition(layout.rows, layout.grid->all().size());
  switch (solver) {
    case EigenSolver::kLapack: {
      if (layout.grid->all().size() > 1) {
        const auto pairs = one_rank_eigen(scaled(matrix, factor), range);
        return {pairs.values, to_row_blocks(pairs.vectors, partition)};
      }
      const auto pairs = lapack_eigen(scaled(matrix, factor).local(), range);
      return {pairs.values, pairs.vectors};
    }
    case EigenSolver::kElpaOneStage:
      return solve_elpa(matrix, factor, range, false, partition);
    case EigenSolver::kElpaTwoStage:
      return solve_elpa(matrix, factor, range, true, partition);
    default: {
      const auto pairs = scalapack_eigen(scaled(matrix, factor));
      return {pairs.values, to_row_blocks(pairs.vectors, partition)};
    }
  }
}

/// The wanted pairs in the wanted order, out of at least those.
Pairs select(const Pairs& pairs, EigenRange range, std::int64_t n) {
  const auto keys = range.kind == Kind::kLargestMagnitude ? pairs.values.abs() : pairs.values;
  auto order = std::get<1>(keys.sort(true, 0, range.kind != Kind::kSmallest));
  order = order.narrow(0, 0, range.kind == Kind::kAll ? n : range.count);
  // Along the direction in which memory runs; LAPACK's vectors are column-major.
  const auto& rows = pairs.rows;
  return {pairs.values.index_select(0, order),
          rows.is_contiguous() ? rows.index_select(1, order)
                               : rows.t().index_select(0, order).t().contiguous()};
}

/// Makes the entry of largest magnitude of every vector positive. `all` is null for whole vectors.
void fix_signs(const Communicator* all, torch::Tensor rows) {
  const std::int64_t count = rows.size(1);
  auto high = torch::zeros({count}, rows.options());
  auto low = torch::zeros({count}, rows.options());
  if (rows.size(0) > 0) {
    high = rows.amax(0);
    low = -rows.amin(0);
  }
  auto both = torch::stack({high, low});
  if (all != nullptr) {
    all->all_reduce(both, ReduceOp::kMax);
  }
  // Entries that are equal but for sign and rounding leave the sign as it is.
  rows.mul_(torch::where(both[0] < both[1] * (1 - 1e-10), -torch::ones_like(high),
                         torch::ones_like(high)));
}

std::string name_of(EigenSolver solver) {
  switch (solver) {
    case EigenSolver::kLapack:
      return "LAPACK";
    case EigenSolver::kScalapack:
      return "ScaLAPACK pdsyevd";
    case EigenSolver::kElpaOneStage:
      return "ELPA one-stage";
    case EigenSolver::kElpaTwoStage:
      return "ELPA two-stage";
    default:
      return "automatic";
  }
}

/// [collective] max |a| over the tensors of all ranks.
double largest_magnitude(const Communicator& all, const torch::Tensor& values) {
  double own = 0;
  if (values.numel() > 0) {
    const auto [low, high] = torch::aminmax(values);
    own = std::max(-low.item<double>(), high.item<double>());
  }
  return all_reduce(all, own, ReduceOp::kMax);
}

void verify(const DistributedMatrix& matrix, EigenDecomposition& result) {
  const auto& layout = matrix.layout();
  const Communicator& all = layout.grid->all();
  const RowPartition partition(layout.rows, all.size());
  // A V by panels of rows of A: the product's rows are this rank's, V travels around the ring.
  const auto rows = to_row_blocks(matrix, partition);
  auto product = torch::zeros_like(result.vectors);
  for (int rank = 0; rank < all.size(); ++rank) {
    const auto range = partition.range(rank);
    auto part = rank == all.rank()
                    ? result.vectors
                    : torch::empty({range.size(), result.vectors.size(1)}, torch::kFloat64);
    all.broadcast(part, rank);
    product.addmm_(rows.narrow(1, range.begin, range.size()), part);
  }
  product.sub_(result.vectors * result.values);
  result.residual =
      largest_magnitude(all, product) / std::max(largest_magnitude(all, result.values), 1e-300);
  // Orthogonality block by block of columns: count x 64 numbers at a time.
  const std::int64_t count = result.values.size(0);
  for (std::int64_t first = 0; first < count; first += 64) {
    const std::int64_t width = std::min<std::int64_t>(64, count - first);
    auto gram = result.vectors.t().matmul(result.vectors.narrow(1, first, width));
    all.all_reduce(gram);
    gram.narrow(0, first, width).diagonal().sub_(1);
    result.orthogonality = std::max(result.orthogonality, gram.abs().max().item<double>());
  }
}

void require_finite(const torch::Tensor& entries, std::int64_t n) {
  // A sum of magnitudes overflows only where a residual would, too.
  if (entries.numel() > 0 &&
      !std::isfinite(number_of(entries.norm(1), "eigenproblems").toDouble())) {
    throw NumericalError("an eigenproblem of size " + std::to_string(n) +
                         " has entries that are not finite");
  }
}

/// The largest pairs of a matrix on a device by libtorch, which calls cuSOLVER.
EigenDecomposition cusolver_eigen(const torch::Tensor& matrix, std::int64_t count) {
  const std::int64_t n = matrix.size(0);
  EigenDecomposition result;
  try {
    const auto [values, vectors] = torch::linalg_eigh(matrix, "L");
    result.values = values.flip(0).narrow(0, 0, count).contiguous();
    result.vectors = vectors.flip(1).narrow(1, 0, count).contiguous();
  } catch (const c10::Error& error) {
    throw NumericalError("an eigenproblem of size " + std::to_string(n) +
                         " failed on the device: " + error.what_without_backtrace());
  }
  result.solver = "cuSOLVER, n = " + std::to_string(n);
  return result;
}

}  // namespace

EigenDecomposition symmetric_eigen(const torch::Tensor& matrix, std::int64_t leading) {
  const std::int64_t n = matrix.size(0);
  const std::int64_t count = leading < 0 ? n : std::min(leading, n);
  require_finite(matrix, n);
  const double factor =
      power_of_two_for(n > 0 ? number_of(matrix.abs().max(), "eigenproblems").toDouble() : 0);
  if (lies_on_device(matrix)) {
    const auto device = device_holding(matrix);
    auto result = n < kSmallestOnDevice ? symmetric_eigen(on_host(matrix, "eigenproblems"), leading)
                                        : cusolver_eigen(matrix * factor, count);
    result.values = moved_to(result.values, device, "eigenproblems");
    result.vectors = moved_to(result.vectors, device, "eigenproblems");
    if (n >= kSmallestOnDevice) {
      result.values.div_(factor);
      fix_signs(nullptr, result.vectors);
    }
    return result;
  }
  auto copy = empty_column_major(n, n, torch::kFloat64);
  copy.copy_(matrix);
  const auto range = count < n && count > 0 ? EigenRange::largest(count) : EigenRange::all();
  const auto pairs = lapack_eigen(copy.mul_(factor), range);
  EigenDecomposition result;
  result.values = pairs.values.flip(0).narrow(0, 0, count).div_(factor);
  result.vectors = pairs.vectors.flip(1).narrow(1, 0, count).contiguous();
  fix_signs(nullptr, result.vectors);
  result.solver = name_of(EigenSolver::kLapack) + ", n = " + std::to_string(n);
  return result;
}

EigenDecomposition symmetric_eigen(const DistributedMatrix& matrix, EigenRange range,
                                   const EigenOptions& options) {
  const TraceSpan span("symmetric eigenproblem");
  const Communicator& all = matrix.layout().grid->all();
  const std::int64_t n = matrix.layout().rows;
  range.count = std::clamp<std::int64_t>(range.count, 0, n);
  if (n == 0 || matrix.layout().columns != n || (range.kind != Kind::kAll && range.count == 0)) {
    throw std::invalid_argument("an eigenproblem without eigenvalues");
  }
  on_all_ranks(all, [&] { require_finite(matrix.local(), n); });
  const auto layout = square_blocks(matrix.layout());
  const auto square = layout == matrix.layout() ? matrix : redistribute(matrix, layout);
  const EigenSolver solver = options.solver == EigenSolver::kAutomatic
                                 ? choose(layout, range, options.one_rank)
                                 : options.solver;
  const double factor = power_of_two_for(largest_magnitude(all, matrix.local()));
  const auto pairs = select(solve(square, factor, range, solver), range, n);

  EigenDecomposition result;
  result.values = pairs.values.div(factor);
  result.vectors = pairs.rows;
  // Backends compute the values on every rank alike, but "alike" is rank 0's.
  all.broadcast(result.values, 0);
  fix_signs(&all, result.vectors);
  const bool alone = solver == EigenSolver::kLapack && all.size() > 1;
  result.solver = name_of(solver) + (alone ? " on one rank" : "") + ", n = " + std::to_string(n) +
                  ", " + std::to_string(result.values.size(0)) + " vectors, grid " +
                  std::to_string(layout.grid->rows()) + "x" +
                  std::to_string(layout.grid->columns()) + ", blocks of " +
                  std::to_string(layout.row_block);
  if (options.verify) {
    verify(matrix, result);
  }
  return result;
}

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
