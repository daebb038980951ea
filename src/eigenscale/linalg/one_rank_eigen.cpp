#include <cmath>
#include <string>
#include <utility>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/memory_check.h"
#include "eigenscale/comm/threads.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/linalg/eigen_backends.h"
#include "eigenscale/linalg/gathered_triangle.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kMostOnOneRank = 4096;
constexpr std::int64_t kMostOnDevice = 8192;
// The matrix while it travels, twice, or with dsyevd's work space, 2 n^2; and its copies elsewhere.
constexpr double kBytesOfAnEntry = 32;
// What a process has for its libraries anyway is not asked for.
constexpr double kAlwaysThere = 64 << 20;

double needed_bytes(std::int64_t n) {
  return kBytesOfAnEntry * static_cast<double>(n) * static_cast<double>(n);
}

/// [collective]
bool fits_on_one_rank(std::int64_t n, const Communicator& all) {
  return !asks_for_memory(n) || available_memory_per_rank(all) >= needed_bytes(n);
}

/// Pairs that the first rank has, of n x n, in one block.
DistributedEigenpairs on_first(const LocalEigenpairs& pairs, std::int64_t found, std::int64_t n,
                               const std::shared_ptr<const ProcessGrid>& grid) {
  const bool first = grid->all().rank() == 0;
  const BlockCyclicLayout layout{n, found, n, found, grid};
  return {first ? pairs.values : torch::zeros({found}, torch::kFloat64),
          first ? DistributedMatrix(layout, pairs.vectors)
                : DistributedMatrix::zeros(layout, torch::kFloat64)};
}

}  // namespace

/// Two ranks' cores solve faster as threads of one process than by messages, but for small
/// matrices. On more cores that was not measured.
bool one_rank_is_faster(std::int64_t n, double share, std::int64_t ranks) {
  const std::int64_t fewest = share <= 0.05 ? 500 : share <= 0.1 ? 600 : 900;
  return ranks == 2 && n >= fewest && n <= kMostOnOneRank;
}

bool asks_for_memory(std::int64_t n) { return needed_bytes(n) > kAlwaysThere; }

bool one_rank_can_solve(std::int64_t n, const Communicator& all) {
  return n <= kMostOnOneRank && threads_of_all(all) > 0 && fits_on_one_rank(n, all);
}

bool device_solves(std::int64_t n, const Placement& placement) {
  return placement.on_device() && n >= kSmallestOnDevice && n <= kMostOnDevice &&
         fits_on_one_rank(n, placement.control());
}

DistributedEigenpairs one_rank_eigen(DistributedMatrix matrix, EigenRange range) {
  const auto grid = matrix.layout().grid;
  const Communicator& all = grid->all();
  const std::int64_t n = matrix.layout().rows;
  auto whole = gathered_triangle(matrix);
  matrix = {};
  LocalEigenpairs pairs;
  {
    const WatchedCall watched("one rank's eigenproblem", 8 * n * n,
                              1e-8 * std::pow(static_cast<double>(n), 3));
    on_first_with_all_threads(all, [&] { pairs = lapack_eigen(std::exchange(whole, {}), range); });
  }
  return on_first(pairs, lapack_pairs(n, range), n, grid);
}

LocalEigenpairs cusolver_eigen(const torch::Tensor& matrix, const char* triangle) {
  try {
    const auto [values, vectors] = torch::linalg_eigh(matrix, triangle);
    return {values, vectors};
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& error) {
    throw NumericalError("an eigenproblem of size " + std::to_string(matrix.size(0)) +
                         " failed on the device: " + error.what_without_backtrace());
  }
}

std::optional<DistributedEigenpairs> device_eigen(const DistributedMatrix& matrix, EigenRange range,
                                                  const Placement& placement) {
  const auto grid = matrix.layout().grid;
  const Communicator& all = grid->all();
  const std::int64_t n = matrix.layout().rows;
  const std::int64_t found = range.kind == EigenRange::Kind::kLargest ? range.count : n;
  auto whole = gathered_triangle(matrix);
  LocalEigenpairs pairs;
  bool fits = true;
  std::string what;
  {
    const WatchedCall watched("one rank's eigenproblem", 8 * n * n,
                              1e-10 * std::pow(static_cast<double>(n), 3));
    on_all_ranks(
        all,
        [&] {
          if (all.rank() != 0) {
            return;
          }
          try {
            // By rows, as it travels, its lower triangle is the upper one.
            const auto there = cusolver_eigen(
                placement.to_device(std::exchange(whole, {}).t(), kEigenproblems), "U");
            const auto columns = there.vectors.narrow(1, n - found, found).t().contiguous();
            pairs = {placement.to_host(there.values.narrow(0, n - found, found), kEigenproblems),
                     placement.to_host(columns, kEigenproblems).t()};
          } catch (const c10::OutOfMemoryError& error) {
            fits = false;
            what = error.what_without_backtrace();
          }
        },
        ExitCode::kNumerical);
  }
  if (all_reduce(all, std::int64_t{fits ? 0 : 1}, ReduceOp::kMax) > 0) {
    log_warning("an eigenproblem of size " + std::to_string(n) +
                " does not fit on the device, and is solved on the host: " + what);
    return std::nullopt;
  }
  return on_first(pairs, found, n, grid);
}

}  // namespace eigenscale
