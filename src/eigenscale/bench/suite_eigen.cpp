#include <algorithm>

#include "eigenscale/bench/suites.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/linalg/eigen_backends.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/linalg/symmetric_eigen.h"

namespace eigenscale {
namespace {

/// Symmetric, of entries that every rank can make: a function of both indices.
DistributedMatrix symmetric_matrix(const BlockCyclicLayout& layout) {
  auto result = DistributedMatrix::zeros(layout, torch::kFloat64);
  const auto i = layout.global_rows().to(torch::kFloat64).unsqueeze(1);
  const auto j = layout.global_columns().to(torch::kFloat64).unsqueeze(0);
  const auto smaller = torch::minimum(i, j);
  const auto larger = torch::maximum(i, j);
  result.local().copy_(torch::sin(smaller * 12.9898 + larger * 78.233) * 43758.5453 % 1.0);
  return result;
}

/// A thread of OpenBLAS that worked for the contender before spins for 2^26 cycles more. Nobody
/// sleeps meanwhile: processors that do are slow at first.
void let_threads_fall_asleep() {
  constexpr double kSeconds = 0.06;
  for (const double begin = now_seconds(); now_seconds() - begin < kSeconds;) {
  }
}

/// Backends overwrite the matrix: every call gets a copy, which is not timed.
struct Backend {
  DistributedMatrix matrix;
  DistributedMatrix copy = {};
};

std::vector<Contender> eigen_contenders(const Communicator& world, const Suite::Size& size) {
  ProcessGrid::require(world.size());
  const std::int64_t n = size[0];
  const std::int64_t count = std::min(size[1], n);
  const auto range = count == n ? EigenRange::all() : EigenRange::largest(count);
  const auto [rows, columns] = ProcessGrid::squarest(world.size());
  const auto grid = std::make_shared<const ProcessGrid>(world, rows, columns);
  const auto state = std::make_shared<Backend>();
  state->matrix = symmetric_matrix({n, n, 32, 32, grid});
  // Reduction to tridiagonal form and the way back for the vectors; what lies between depends on
  // the spectrum.
  const double side = static_cast<double>(n);
  const double flop = 4.0 / 3 * side * side * side + 2 * side * side * static_cast<double>(count);
  std::vector<Contender> contenders = {gemm_limit(world, torch::kFloat64)};
  contenders.push_back(
      {.name = "symmetric_eigen",
       .work = [state, range] { symmetric_eigen(state->matrix, range, {.one_rank = true}); },
       .prepare = let_threads_fall_asleep,
       .flop = flop,
       .limit = "dgemm",
       .error =
           [state, range] {
             const auto pairs =
                 symmetric_eigen(state->matrix, range, {.one_rank = true, .verify = true});
             return std::max(pairs.residual, pairs.orthogonality);
           },
       .bound = 1e-10});
  const auto add = [&](const std::string& name, std::function<void(DistributedMatrix)> solve) {
    contenders.push_back({.name = name,
                          .work = [state, solve] { solve(std::move(state->copy)); },
                          .prepare =
                              [state] {
                                let_threads_fall_asleep();
                                state->copy = state->matrix.clone();
                              },
                          .flop = flop,
                          .limit = "dgemm"});
  };
  if (world.size() == 1) {
    add("LAPACK", [range](DistributedMatrix copy) { lapack_eigen(copy.local(), range); });
  } else if (one_rank_can_solve(state->matrix.layout().rows, world)) {
    add("LAPACK on one rank",
        [range](DistributedMatrix copy) { one_rank_eigen(std::move(copy), range); });
  }
  if (ProcessGrid::supports(2)) {
    add("pdsyevd", [](DistributedMatrix copy) { scalapack_eigen(std::move(copy)); });
  }
  if (elpa_can_solve(state->matrix.layout())) {
    add("ELPA one-stage",
        [count](DistributedMatrix copy) { elpa_eigen(std::move(copy), count, false); });
    add("ELPA two-stage",
        [count](DistributedMatrix copy) { elpa_eigen(std::move(copy), count, true); });
  }
  return contenders;
}

}  // namespace

Suite eigen_suite() {
  return {"eigen",
          "symmetric_eigen against its backends, for the largest eigenpairs",
          {"n", "vectors"},
          {{500, 500},
           {500, 50},
           {500, 5},
           {1000, 1000},
           {1000, 100},
           {1000, 10},
           {2000, 2000},
           {2000, 200},
           {2000, 20},
           {4000, 4000},
           {4000, 400},
           {4000, 40}},
          eigen_contenders};
}

}  // namespace eigenscale
