// One way for a run to go wrong, chosen by the first argument, for faults_test.py to look at.

#include <mpi.h>

#include <chrono>
#include <string>
#include <thread>

#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/comm/watchdog.h"

namespace {

using eigenscale::Communicator;
using eigenscale::WatchedCall;

void sleep_for(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

/// Rank 1 never comes.
void wait_for_nobody(const Communicator& world, const std::string& how) {
  eigenscale::start_watchdog(0.5, world);
  eigenscale::set_watched_phase("affinity");
  if (world.rank() == 1) {
    sleep_for(20);
    return;
  }
  auto values = torch::zeros({100}, torch::kFloat64);
  if (how == "blocking") {
    world.all_reduce(values);
  } else if (how == "asynchronous") {
    world.start_all_reduce(values, eigenscale::ReduceOp::kSum)->wait();
  } else if (how == "split") {
    world.split(0, 0);
  } else if (how == "thread") {
    // The main thread's own calls begin and end all the while.
    std::thread other([&] {
      eigenscale::set_watched_thread("next batch");
      world.all_reduce(values);
    });
    while (true) {
      const WatchedCall watched("a short call", 1);
      sleep_for(0.01);
    }
  }
}

/// Calls of two threads overlap for longer than the limit, each of them short.
void overlap(const Communicator& world) {
  eigenscale::start_watchdog(0.4, world);
  const auto work = [] {
    for (int i = 0; i < 8; ++i) {
      const WatchedCall watched("a short call", 1);
      sleep_for(0.15);
    }
  };
  std::thread other([&] {
    sleep_for(0.07);
    work();
  });
  work();
  other.join();
  const WatchedCall computing("a long computation", 1, 5);
  sleep_for(0.8);
}

int run(const Communicator& world, int, char** argv) {
  const std::string how = argv[1];
  if (how == "overlap") {
    overlap(world);
  } else if (how == "library") {
    // What BLACS or ELPA would do: the code of a call that fails is not looked at.
    MPI_Comm handle = eigenscale::library_handle(world);
    double value = 0;
    MPI_Send(&value, 1, MPI_DOUBLE, world.size() + 5, 0, handle);
    sleep_for(20);
  } else {
    wait_for_nobody(world, how);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return eigenscale::run_program(argc, argv, run); }
