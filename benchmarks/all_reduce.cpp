// What the communicator's all_reduce costs beyond the MPI call it makes.
//
//   mpirun -np P bench_all_reduce [ROUNDS]
//
// Per size from 4 KiB to 64 MiB (float32, in place): MPI_Allreduce itself against
// Communicator::all_reduce, and MPI_Iallreduce with MPI_Wait against start_all_reduce with wait.
// All four take turns, first in one order, then in the other; one turn is as many calls as take
// about four milliseconds. Prints JSON lines: medians over the turns in seconds a call, and the
// median over rounds of (wrapped - raw) / raw within the same round, so that what both share
// cancels.
#include <mpi.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/comm/mpi_types.h"
#include "eigenscale/core/clock.h"

namespace {

using namespace eigenscale;

constexpr std::int64_t kSmallest = std::int64_t{4} << 10;
constexpr std::int64_t kLargest = std::int64_t{64} << 20;
constexpr double kTurnSeconds = 4e-3;
constexpr std::size_t kContenders = 4;
constexpr std::array<const char*, kContenders> kNames = {"MPI_Allreduce", "all_reduce",
                                                         "MPI_Iallreduce", "start_all_reduce"};

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

/// [collective] Seconds a call, of the slowest rank.
double time_turn(const Communicator& world, const std::function<void()>& call, std::int64_t calls) {
  world.barrier();
  const double begin = now_seconds();
  for (std::int64_t i = 0; i < calls; ++i) {
    call();
  }
  const double seconds = (now_seconds() - begin) / static_cast<double>(calls);
  return all_reduce(world, seconds, ReduceOp::kMax);
}

void measure(const Communicator& world, std::int64_t bytes, int rounds) {
  const auto values = torch::zeros({bytes / 4});
  const int count = narrow_to_int(values.numel(), "count");
  const MPI_Comm handle = mpi_handle(world);
  const std::array<std::function<void()>, kContenders> calls = {
      [&] {
        check_mpi(MPI_Allreduce(MPI_IN_PLACE, values.data_ptr(), count, MPI_FLOAT, MPI_SUM, handle),
                  "MPI_Allreduce");
      },
      [&] { world.all_reduce(values); },
      [&] {
        MPI_Request request = MPI_REQUEST_NULL;
        check_mpi(MPI_Iallreduce(MPI_IN_PLACE, values.data_ptr(), count, MPI_FLOAT, MPI_SUM, handle,
                                 &request),
                  "MPI_Iallreduce");
        check_mpi(MPI_Wait(&request, MPI_STATUS_IGNORE), "MPI_Wait");
      },
      [&] { world.start_all_reduce(values, ReduceOp::kSum)->wait(); }};

  std::int64_t turn = 1;
  for (const auto& call : calls) {
    time_turn(world, call, 3);
    turn = std::max(turn, static_cast<std::int64_t>(kTurnSeconds / time_turn(world, call, 3)));
  }
  std::array<std::vector<double>, kContenders> seconds;
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < kContenders; ++i) {
      const auto who = round % 2 == 0 ? i : kContenders - 1 - i;
      seconds[who].push_back(time_turn(world, calls[who], turn));
    }
  }
  nlohmann::json line = {{"suite", "all-reduce"},
                         {"ranks", world.size()},
                         {"bytes", bytes},
                         {"calls_per_turn", turn},
                         {"rounds", rounds}};
  for (std::size_t i = 0; i < kContenders; ++i) {
    line["seconds"][kNames[i]] = median(seconds[i]);
  }
  for (const std::size_t raw : {0, 2}) {
    std::vector<double> overhead;
    for (int round = 0; round < rounds; ++round) {
      overhead.push_back(seconds[raw + 1][round] / seconds[raw][round] - 1);
    }
    line["overhead"][kNames[raw + 1]] = median(overhead);
  }
  if (world.rank() == 0) {
    std::cout << line.dump() << std::endl;
  }
}

int bench_main(const Communicator& world, int argc, char** argv) {
  const int rounds = argc > 1 ? std::max(1, std::atoi(argv[1])) : 0;
  for (std::int64_t bytes = kSmallest; bytes <= kLargest; bytes *= 4) {
    const int sensible = bytes <= (std::int64_t{4} << 20) ? 300 : 60;
    measure(world, bytes, rounds > 0 ? rounds : sensible);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return eigenscale::run_program(argc, argv, bench_main); }
