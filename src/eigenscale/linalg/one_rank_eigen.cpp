#include <cmath>
#include <utility>

#include "eigenscale/comm/memory_check.h"
#include "eigenscale/comm/threads.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/linalg/eigen_backends.h"
#include "eigenscale/linalg/gathered_triangle.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kMostOnOneRank = 4096;
// The matrix while it travels, twice, or with dsyevd's work space, 2 n^2; and its copies elsewhere.
constexpr double kBytesOfAnEntry = 32;
// What a process has for its libraries anyway is not asked for.
constexpr double kAlwaysThere = 64 << 20;

double needed_bytes(std::int64_t n) {
  return kBytesOfAnEntry * static_cast<double>(n) * static_cast<double>(n);
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
  return n <= kMostOnOneRank && threads_of_all(all) > 0 &&
         (!asks_for_memory(n) || available_memory_per_rank(all) >= needed_bytes(n));
}

DistributedEigenpairs one_rank_eigen(DistributedMatrix matrix, EigenRange range) {
  const auto grid = matrix.layout().grid;
  const Communicator& all = grid->all();
  const std::int64_t n = matrix.layout().rows;
  auto whole = gathered_triangle(matrix);
  matrix = {};
  const bool first = all.rank() == 0;
  LocalEigenpairs pairs;
  {
    const WatchedCall watched("one rank's eigenproblem", 8 * n * n,
                              1e-8 * std::pow(static_cast<double>(n), 3));
    on_first_with_all_threads(all, [&] { pairs = lapack_eigen(std::exchange(whole, {}), range); });
  }
  const std::int64_t found = lapack_pairs(n, range);
  const auto values = first ? pairs.values : torch::zeros({found}, torch::kFloat64);
  const BlockCyclicLayout layout{n, found, n, found, grid};
  return {values, first ? DistributedMatrix(layout, pairs.vectors)
                        : DistributedMatrix::zeros(layout, torch::kFloat64)};
}

}  // namespace eigenscale
