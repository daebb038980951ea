// One way for a run to go wrong, chosen by the first argument, for faults_test.py to look at.

#include <mpi.h>

#include <chrono>
#include <string>
#include <thread>

#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/comm/nccl_communicator.h"
#include "eigenscale/comm/watchdog.h"
#include "support/device_double.h"
#include "support/keep_plugins.h"

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

/// Rank 1 comes to the agreement about a communicator, but never to its start.
class LateDouble final : public eigenscale::test::DeviceDouble {
 public:
  explicit LateDouble(double late) : DeviceDouble(Options()), late_(late) {}
  eigenscale::NcclHandle begin_communicator(const eigenscale::NcclId& id, int rank,
                                            int size) override {
    sleep_for(late_);
    return DeviceDouble::begin_communicator(id, rank, size);
  }

 private:
  double late_;
};

/// The same faults with collectives of a device.
void fail_on_a_device(const Communicator& world, const std::string& how) {
  eigenscale::start_watchdog(0.5, world);
  eigenscale::set_watched_phase("affinity");
  const bool late = how == "nccl-start" && world.rank() == 1;
  auto& device = *new LateDouble(late ? 20 : 0);  // its threads live as long as the process
  const eigenscale::NcclCommunicator communicator(world, device, 0);
  auto values = torch::zeros({100}, torch::kFloat64);
  if (how == "nccl-other-call") {
    while (true) {  // the first call that comes after the error has it
      if (world.rank() == 0) {
        communicator.all_reduce(values);
      } else {
        communicator.broadcast(values, 1);
      }
      sleep_for(0.01);
    }
  }
  if (world.rank() == 1) {
    sleep_for(20);
    return;
  }
  const auto work = communicator.start_all_reduce(values, eigenscale::ReduceOp::kSum);
  if (how == "nccl-queued") {
    sleep_for(20);  // busy with something else
  }
  work->wait();
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
  } else if (how.starts_with("nccl-")) {
    fail_on_a_device(world, how);
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
