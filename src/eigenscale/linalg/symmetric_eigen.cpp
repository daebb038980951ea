#include "eigenscale/linalg/symmetric_eigen.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>
#include <utility>

#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/linalg/eigen_backends.h"
#include "eigenscale/linalg/eigenvector_exchange.h"
#include "eigenscale/linalg/eigenvector_rows.h"
#include "eigenscale/linalg/products.h"
#include "eigenscale/linalg/redistribute.h"
#include "eigenscale/linalg/row_blocks.h"

namespace eigenscale {
namespace {

using Kind = EigenRange::Kind;

/// Values in any order and, in parts behind each other, their vectors as backends leave them.
struct Pairs {
  torch::Tensor values;
  std::vector<DistributedMatrix> vectors;
};

BlockCyclicLayout square_blocks(const BlockCyclicLayout& layout) {
  // One block would leave all work to one rank.
  if (layout.has_square_blocks() && !(layout.lies_on_first() && layout.grid->all().size() > 1)) {
    return layout;
  }
  return square_layout(layout.rows, layout.grid);
}

double share_of(EigenRange range, std::int64_t n) {
  return range.kind == Kind::kAll ? 1 : static_cast<double>(range.count) / static_cast<double>(n);
}

/// [collective]
EigenSolver choose(const BlockCyclicLayout& layout, EigenRange range, const EigenOptions& options) {
  if (options.placement && device_solves(layout.rows, *options.placement)) {
    return EigenSolver::kDevice;
  }
  if (layout.grid->all().size() == 1) {
    return EigenSolver::kLapack;
  }
  if (options.one_rank && first_rank_solves(layout.rows, range, layout.grid->all())) {
    return EigenSolver::kLapack;
  }
  const auto n = static_cast<double>(layout.rows);
  const double share = share_of(range, layout.rows);
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
/// with absolute bounds and square what they are given. 1 where it is not far from there.
double power_of_two_for(double largest) {
  constexpr double kFar = 1 << 20;
  if (largest == 0 || (largest < kFar && largest > 1 / kFar)) {
    return 1;
  }
  int exponent = 0;
  std::frexp(largest, &exponent);
  // The factor and its inverse are normal numbers.
  return std::ldexp(1.0, std::clamp(-exponent, -1000, 1000));
}

DistributedMatrix scaled(DistributedMatrix matrix, double factor) {
  if (factor != 1) {
    matrix.local().mul_(factor);
  }
  return matrix;
}

/// `count` smallest pairs by ELPA, of a matrix that it destroys.
Pairs elpa_smallest(DistributedMatrix matrix, std::int64_t count, bool two_stage) {
  const auto pairs = elpa_eigen(std::move(matrix), count, two_stage);
  return {pairs.values, {leading_columns(pairs.vectors, count)}};
}

/// `count` largest pairs: the smallest of -A.
Pairs elpa_largest(DistributedMatrix matrix, std::int64_t count, bool two_stage) {
  auto pairs = elpa_smallest(scaled(std::move(matrix), -1), count, two_stage);
  pairs.values.neg_();
  return pairs;
}

/// `count` pairs of either end. Where an eigenspace reaches both ends (the null space of a matrix
/// of low rank), two solves would find vectors of it that know nothing of each other. So the second
/// one is of A + s V V^T, V the vectors of the upper end: that lifts them above all others, and
/// what remains at the lower end is orthogonal to them.
Pairs elpa_both_ends(DistributedMatrix matrix, std::int64_t count, bool two_stage) {
  auto lifted = matrix.clone();
  auto high = elpa_largest(std::move(matrix), count, two_stage);
  high.vectors[0] = high.vectors[0].clone();  // without the columns beyond
  {
    const double lift = 2 * high.values.abs().max().item<double>() + 1;
    const auto projector = multiply(high.vectors[0], high.vectors[0], false, true);
    lifted.local().add_(projector.local(), lift);
  }
  const auto low = elpa_smallest(std::move(lifted), count, two_stage);
  return {torch::cat({low.values, high.values}), {low.vectors[0], high.vectors[0]}};
}

Pairs solve_elpa(DistributedMatrix matrix, EigenRange range, bool two_stage) {
  const std::int64_t n = matrix.layout().rows;
  if (elpa_pairs(n, range) == n) {
    return elpa_smallest(std::move(matrix), n, two_stage);
  }
  switch (range.kind) {
    case Kind::kLargest:
      return elpa_largest(std::move(matrix), range.count, two_stage);
    case Kind::kSmallest:
      return elpa_smallest(std::move(matrix), range.count, two_stage);
    default:
      return elpa_both_ends(std::move(matrix), range.count, two_stage);
  }
}

/// Whether the first rank gets the matrix whole.
bool on_one_rank(EigenSolver solver) {
  return solver == EigenSolver::kLapack || solver == EigenSolver::kDevice;
}

Pairs as_parts(const DistributedEigenpairs& pairs) { return {pairs.values, {pairs.vectors}}; }

/// The pairs of the matrix, which is destroyed but on one rank. Nothing where a device is too
/// small.
std::optional<Pairs> solve(DistributedMatrix matrix, EigenRange range, EigenSolver solver,
                           const EigenOptions& options) {
  switch (solver) {
    case EigenSolver::kDevice: {
      const auto pairs = device_eigen(matrix, range, *options.placement);
      return pairs ? std::optional(as_parts(*pairs)) : std::nullopt;
    }
    case EigenSolver::kLapack:
      return as_parts(one_rank_eigen(std::move(matrix), range));
    case EigenSolver::kElpaOneStage:
      return solve_elpa(std::move(matrix), range, false);
    case EigenSolver::kElpaTwoStage:
      return solve_elpa(std::move(matrix), range, true);
    default:
      return as_parts(scalapack_eigen(std::move(matrix)));
  }
}

/// The places of the wanted pairs, in the wanted order, among at least those.
torch::Tensor wanted(const torch::Tensor& values, EigenRange range, std::int64_t n) {
  const auto keys = range.kind == Kind::kLargestMagnitude ? values.abs() : values;
  const auto order = std::get<1>(keys.sort(true, 0, range.kind != Kind::kSmallest));
  return order.narrow(0, 0, range.kind == Kind::kAll ? n : range.count).contiguous();
}

/// Of a matrix whose entry of largest magnitude is `largest`; `agreed` when all ranks know it.
void require_finite(double largest, std::int64_t n, bool agreed) {
  if (std::isfinite(largest)) {
    return;
  }
  const auto message =
      "an eigenproblem of size " + std::to_string(n) + " has entries that are not finite";
  if (agreed) {
    throw Error(ExitCode::kNumerical, message, true);
  }
  throw NumericalError(message);
}

/// [local] Values and vectors of a matrix that this rank has whole, by LAPACK. `agreed`: there is
/// no other rank.
void solve_here(EigenDecomposition& result, const torch::Tensor& matrix, EigenRange range,
                bool agreed) {
  const std::int64_t n = matrix.size(0);
  auto copy = empty_column_major(n, n, torch::kFloat64);
  const double largest = copy_with_largest(copy, matrix);
  require_finite(largest, n, agreed);
  const double factor = power_of_two_for(largest);
  if (factor != 1) {
    copy.mul_(factor);
  }
  const bool none = range.kind != Kind::kAll && range.count == 0;
  const auto pairs = lapack_eigen(copy, none ? EigenRange::all() : range);
  const auto order = wanted(pairs.values, range, n);
  result.values = pairs.values.index_select(0, order).div_(factor);
  result.vectors = torch::empty({n, order.size(0)}, torch::kFloat64);
  fill_rows(result.vectors, pairs.vectors, order, signs_by(column_extremes(pairs.vectors, order)));
}

/// [collective] The largest of what the ranks found.
double largest_of_all(const Communicator& all, double largest) {
  return all_reduce(all, largest, ReduceOp::kMax);
}

/// A matrix that a solver may have, and the largest magnitude in it.
struct Prepared {
  DistributedMatrix matrix;
  double largest;
};

/// [collective] One rank alone gathers a copy of its own.
Prepared prepared(const DistributedMatrix& matrix, EigenSolver solver) {
  const auto& layout = matrix.layout();
  const Communicator& all = layout.grid->all();
  const bool alone = on_one_rank(solver);
  Prepared result{matrix, 0};
  if (alone) {
    result.largest = largest_magnitude(matrix.local());
  } else {
    result.matrix = DistributedMatrix(
        layout, empty_column_major(layout.local_rows(), layout.local_columns(), torch::kFloat64));
    result.largest = copy_with_largest(result.matrix.local(), matrix.local());
  }
  result.largest = largest_of_all(all, result.largest);
  require_finite(result.largest, layout.rows, true);
  if (alone && power_of_two_for(result.largest) != 1) {
    result.matrix = matrix.clone();
  }
  return result;
}

/// [collective] The same of a matrix of several ranks, or by other solvers. False where a device is
/// too small.
bool solve_together(EigenDecomposition& result, const DistributedMatrix& matrix, EigenRange range,
                    EigenSolver solver, const EigenOptions& options) {
  const auto& layout = matrix.layout();
  const Communicator& all = layout.grid->all();
  const RowPartition partition(layout.rows, all.size());
  auto [own, largest] = prepared(matrix, solver);
  const double factor = power_of_two_for(largest);
  const auto solved = solve(scaled(std::move(own), factor), range, solver, options);
  if (!solved) {
    return false;
  }
  const auto& pairs = *solved;
  std::vector<torch::Tensor> extremes;
  for (const auto& vectors : pairs.vectors) {
    extremes.push_back(own_column_extremes(vectors));
  }
  const auto agreed = agreed_pairs(all, pairs.values, torch::cat(extremes, 1));
  const auto signs = signs_by(agreed.extremes);
  const auto order = wanted(agreed.values, range, layout.rows);
  auto places = torch::full({pairs.values.size(0)}, -1, torch::kInt64);
  places.index_put_({order}, torch::arange(order.size(0)));
  result.values = agreed.values.index_select(0, order).div_(factor);
  result.vectors =
      torch::empty({partition.range(all.rank()).size(), order.size(0)}, torch::kFloat64);
  std::int64_t first = 0;
  for (const auto& vectors : pairs.vectors) {
    const std::int64_t count = vectors.layout().columns;
    deal_rows(vectors, partition, places.narrow(0, first, count), signs.narrow(0, first, count),
              result.vectors);
    first += count;
  }
  return true;
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
    case EigenSolver::kDevice:
      return "cuSOLVER";
    default:
      return "automatic";
  }
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
  result.residual = largest_of_all(all, largest_magnitude(product)) /
                    std::max(largest_of_all(all, largest_magnitude(result.values)), 1e-300);
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

}  // namespace

EigenDecomposition symmetric_eigen(const torch::Tensor& matrix, std::int64_t leading) {
  const std::int64_t n = matrix.size(0);
  const std::int64_t count = leading < 0 ? n : std::min(leading, n);
  if (lies_on_device(matrix)) {
    const auto device = device_holding(matrix);
    if (n < kSmallestOnDevice) {
      auto result = symmetric_eigen(on_host(matrix, kEigenproblems), leading);
      result.values = moved_to(result.values, device, kEigenproblems);
      result.vectors = moved_to(result.vectors, device, kEigenproblems);
      return result;
    }
    // The largest magnitude is not finite where any entry is not.
    const double largest = number_of(matrix.abs().max(), kEigenproblems).toDouble();
    require_finite(largest, n, false);
    const double factor = power_of_two_for(largest);
    const auto pairs = cusolver_eigen(matrix * factor);
    EigenDecomposition result;
    result.values = pairs.values.flip(0).narrow(0, 0, count).div(factor);
    result.vectors = pairs.vectors.flip(1).narrow(1, 0, count).contiguous();
    result.solver = name_of(EigenSolver::kDevice) + ", n = " + std::to_string(n);
    const auto extremes = torch::stack({result.vectors.amax(0), -result.vectors.amin(0)});
    result.vectors.mul_(signs_by(extremes));
    return result;
  }
  EigenDecomposition result;
  solve_here(result, matrix, EigenRange::largest(count), false);
  result.solver = name_of(EigenSolver::kLapack) + ", n = " + std::to_string(n);
  return result;
}

bool first_rank_solves(std::int64_t n, EigenRange range, const Communicator& all) {
  return one_rank_is_faster(n, share_of(range, n), all.size()) && one_rank_can_solve(n, all);
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
  const auto layout = square_blocks(matrix.layout());
  EigenSolver solver =
      options.solver == EigenSolver::kAutomatic ? choose(layout, range, options) : options.solver;
  if (solver == EigenSolver::kDevice && !(options.placement && options.placement->on_device())) {
    throw std::invalid_argument("an eigenproblem for a device that is not there");
  }
  EigenDecomposition result;
  const auto solve_by_choice = [&] {
    if (solver == EigenSolver::kLapack && all.size() == 1) {
      solve_here(result, matrix.local(), range, true);
      return true;
    }
    const bool as_it_lies = on_one_rank(solver) || layout == matrix.layout();
    return solve_together(result, as_it_lies ? matrix : redistribute(matrix, layout), range, solver,
                          options);
  };
  if (!solve_by_choice()) {  // the device is too small
    solver = choose(layout, range, {.one_rank = options.one_rank});
    solve_by_choice();
  }
  const bool alone = on_one_rank(solver) && all.size() > 1;
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

}  // namespace eigenscale
