#include "eigenscale/comm/environment.h"

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <utility>
#include <vector>

#include "eigenscale/comm/blas_kernels.h"
#include "eigenscale/comm/huge_pages.h"
#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/comm/mpi_types.h"
#include "eigenscale/comm/threads.h"
#include "eigenscale/comm/watchdog.h"

namespace eigenscale {
namespace {

/// How many tasks the launcher that started this very process says it started; 0 if unknown. In a
/// Slurm allocation mpirun starts its daemons by srun, so Open MPI's own variable comes first.
int tasks_of_launcher() {
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "FLUX_JOB_SIZE", "PALS_NRANKS",
                               "SLURM_STEP_NUM_TASKS"}) {
    if (const char* value = std::getenv(variable); value != nullptr) {
      return std::atoi(value);
    }
  }
  return 0;
}

void refuse_silent_singletons(const Communicator& world) {
  const int tasks = tasks_of_launcher();
  if (tasks > 0 && tasks != world.size()) {
    const char* first = std::getenv("SLURM_PROCID");
    const bool speaks = first == nullptr || std::string(first) == "0";
    throw Error(ExitCode::kOptions,
                speaks ? "the launcher started " + std::to_string(tasks) + " tasks but MPI sees " +
                             std::to_string(world.size()) +
                             ": each would do the whole job alone. Under Slurm use srun "
                             "--mpi=pmix; otherwise use the mpirun of the MPI this program was "
                             "built with (" +
                             Environment::library_version() + ")"
                       : "",
                true);
  }
}

/// Open MPI's non-blocking sum in place otherwise goes through rank 0 whole, log2 P times. Whoever
/// set the variable keeps it (docs/launching.md).
void prefer_in_open_mpi() {
  const auto ranks = static_cast<unsigned>(std::max(tasks_of_launcher(), 1));
  // Both move 2 (P - 1) / P of the bytes; the first in log2 P rounds, but for powers of two only.
  const char* rabenseifner = "3";
  const char* ring = "1";
  constexpr int kKeep = 0;
  setenv("OMPI_MCA_coll_libnbc_iallreduce_algorithm",
         std::has_single_bit(ranks) ? rabenseifner : ring, kKeep);
}

std::vector<std::function<void()>>& finalizers() {
  static std::vector<std::function<void()>> actions;
  return actions;
}

}  // namespace

void Environment::at_finalize(std::function<void()> action) {
  finalizers().push_back(std::move(action));
}

Environment::Environment(int& argc, char**& argv) {
  prefer_in_open_mpi();
  int provided = 0;
  check_mpi(MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  world_ = std::make_unique<MpiCommunicator>(MPI_COMM_WORLD);
  if (provided < MPI_THREAD_MULTIPLE) {
    world_.reset();
    MPI_Finalize();  // the destructor of what was never made does not
    throw CommunicationError("this MPI library offers no MPI_THREAD_MULTIPLE: " +
                             library_version());
  }
}

Environment::~Environment() {
  {
    const WatchedCall watched("MPI_Finalize", 0);
    for (const auto& action : finalizers()) {
      action();
    }
    free_split_communicators();
    free_mpi_types();
    MPI_Finalize();
  }
  stop_watchdog();
}

std::string Environment::library_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  const std::string all(text.data(), length);
  return all.substr(0, all.find_first_of(",\n"));
}

std::string Environment::host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown host";
}

int run_program(
    int argc, char** argv,
    const std::function<int(const Communicator& world, int argc, char** argv)>& program) {
  choose_blas_kernels();
  std::optional<Environment> environment;
  const auto end = [&](const std::string& message, ExitCode code, bool agreed) {
    if (!environment || agreed) {
      if ((!environment || environment->world().rank() == 0) && !message.empty()) {
        std::cerr << "eigenscale: " << message << std::endl;
      }
      return static_cast<int>(code);
    }
    const Communicator& world = environment->world();
    std::cerr << "eigenscale: rank " << world.rank() << " on " << Environment::host_name() << ": "
              << message << std::endl;
    MPI_Abort(mpi_handle(world), static_cast<int>(code));
    return static_cast<int>(code);
  };
  try {
    environment.emplace(argc, argv);
    refuse_silent_singletons(environment->world());
    use_huge_pages();
    share_cores(environment->world());
    return program(environment->world(), argc, argv);
  } catch (const std::exception& caught) {
    const auto error = as_error(caught, ExitCode::kNumerical);
    return end(error.what(), error.exit_code(), error.agreed());
  } catch (...) {
    return end("an error of unknown type", ExitCode::kNumerical, false);
  }
}

}  // namespace eigenscale
