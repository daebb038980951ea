// symmetric_eigen against each of its backends called directly, on the same ranks and threads.
//
//   mpirun -np P bench_eigen [N[:PERCENT]...]     500, 1000, 2000 and 4000 without N
//
// All, 10 % and 1 % of the eigenvectors (the largest), or PERCENT alone, of a random symmetric
// matrix. The door's time includes all it does beside the backend: the check of the entries, own
// rows of the vectors in descending order, signs. The contenders take turns, and each has its own
// copy of the matrix, which is not timed for the backends. "LAPACK on one rank" gathers nothing and
// uses one of several ranks: it is no backend of several ranks and only for information.
//
// Prints JSON lines: median seconds of the slowest rank, and the median over turns of the door's
// time by that of the backend with the least median.
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "eigenscale/comm/environment.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/linalg/eigen_backends.h"
#include "eigenscale/linalg/symmetric_eigen.h"

namespace {

using namespace eigenscale;

constexpr const char* kDoor = "symmetric_eigen";
constexpr const char* kLocal = "LAPACK on one rank";

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

torch::Tensor random_matrix(std::int64_t n) {
  torch::manual_seed(1);
  const auto half = torch::randn({n, n}, torch::kFloat64);
  return half + half.t();
}

DistributedMatrix distribute(const torch::Tensor& matrix, const BlockCyclicLayout& layout) {
  auto result = DistributedMatrix::zeros(layout, torch::kFloat64);
  result.local().copy_(
      matrix.index_select(0, layout.global_rows()).index_select(1, layout.global_columns()));
  return result;
}

struct Contender {
  std::string name;
  std::function<void(DistributedMatrix copy)> solve;
  std::vector<double> seconds = {};
};

void measure(const Communicator& world, const DistributedMatrix& matrix, const torch::Tensor& whole,
             EigenRange range) {
  const std::int64_t n = matrix.layout().rows;
  const std::int64_t count = range.kind == EigenRange::Kind::kAll ? n : range.count;
  std::string choice;
  std::vector<Contender> contenders = {
      {kDoor, [&](const DistributedMatrix&) { choice = symmetric_eigen(matrix, range).solver; }}};
  if (world.size() == 1) {
    contenders.push_back(
        {"LAPACK", [&](const DistributedMatrix& copy) { lapack_eigen(copy.local(), range); }});
  } else {
    contenders.push_back({kLocal, [&](const DistributedMatrix&) {
                            if (world.rank() == 0) {
                              lapack_eigen(whole.clone().t(), range);
                            }
                          }});
  }
#ifdef EIGENSCALE_HAVE_SCALAPACK
  contenders.push_back(
      {"pdsyevd", [](DistributedMatrix copy) { scalapack_eigen(std::move(copy)); }});
#endif
  if (elpa_can_solve(matrix.layout())) {
    contenders.push_back({"ELPA one-stage", [&](DistributedMatrix copy) {
                            elpa_eigen(std::move(copy), count, false);
                          }});
    contenders.push_back({"ELPA two-stage", [&](DistributedMatrix copy) {
                            elpa_eigen(std::move(copy), count, true);
                          }});
  }
  const int turns = n < 2000 ? 7 : n < 4000 ? 5 : 3;
  for (int turn = n < 2000 ? -1 : 0; turn < turns; ++turn) {
    for (auto& contender : contenders) {
      const auto copy = matrix.clone();
      world.barrier();
      const double begin = now_seconds();
      contender.solve(copy);
      const double seconds = all_reduce(world, now_seconds() - begin, ReduceOp::kMax);
      if (turn >= 0) {
        contender.seconds.push_back(seconds);
      }
    }
  }
  nlohmann::json line = {{"suite", "eigen"},
                         {"n", n},
                         {"vectors", count},
                         {"ranks", world.size()},
                         {"threads", torch::get_num_threads()},
                         {"choice", choice}};
  const Contender* best = nullptr;
  double least = std::numeric_limits<double>::infinity();
  for (const auto& contender : contenders) {
    const double seconds = median(contender.seconds);
    line["seconds"][contender.name] = seconds;
    if (contender.name != kDoor && contender.name != kLocal && seconds < least) {
      least = seconds;
      best = &contender;
      line["best"] = contender.name;
    }
  }
  std::vector<double> ratios;
  for (std::size_t turn = 0; best != nullptr && turn < best->seconds.size(); ++turn) {
    ratios.push_back(contenders.front().seconds[turn] / best->seconds[turn]);
  }
  line["ratio"] = median(ratios);
  if (world.rank() == 0) {
    std::cout << line.dump() << std::endl;
  }
}

int bench_main(const Communicator& world, int argc, char** argv) {
  std::vector<std::string> problems(argv + 1, argv + argc);
  if (problems.empty()) {
    problems = {"500", "1000", "2000", "4000"};
  }
  const auto [rows, columns] = ProcessGrid::squarest(world.size());
  const auto grid = std::make_shared<const ProcessGrid>(world, rows, columns);
  for (const auto& problem : problems) {
    const std::int64_t n = std::atoll(problem.c_str());
    const auto colon = problem.find(':');
    const std::int64_t only =
        colon == std::string::npos ? 0 : std::atoll(problem.c_str() + colon + 1);
    const auto whole = random_matrix(n);
    const auto matrix = distribute(whole, {n, n, 32, 32, grid});
    for (const std::int64_t percent : {100, 10, 1}) {
      if (only != 0 && only != percent) {
        continue;
      }
      measure(world, matrix, whole,
              percent == 100 ? EigenRange::all() : EigenRange::largest(n * percent / 100));
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return eigenscale::run_program(argc, argv, bench_main); }
