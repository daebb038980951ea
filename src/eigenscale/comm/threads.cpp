#include "eigenscale/comm/threads.h"

#include <dlfcn.h>
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/comm/mpi_types.h"

namespace eigenscale {
namespace {

int ranks_on_this_host(const Communicator& world) {
  MPI_Comm host = MPI_COMM_NULL;
  int ranks = 1;
  check_mpi(MPI_Comm_split_type(mpi_handle(world), MPI_COMM_TYPE_SHARED, world.rank(),
                                MPI_INFO_NULL, &host),
            "MPI_Comm_split_type");
  check_mpi(MPI_Comm_size(host, &ranks), "MPI_Comm_size");
  check_mpi(MPI_Comm_free(&host), "MPI_Comm_free");
  return ranks;
}

int cores_this_rank_may_use() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  return ::sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
}

}  // namespace

void share_cores(const Communicator& world) {
  const int ranks = ranks_on_this_host(world);
  if (std::getenv("OMP_NUM_THREADS") != nullptr) {
    return;
  }
  // A launcher that binds gives each rank its own few cores; one that does not gives all of them
  // all.
  const int online = static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN));
  const int threads = std::max(1, std::min(cores_this_rank_may_use(), online / ranks));
  torch::set_num_threads(threads);
  // torch does not pass its number on to OpenBLAS, which is there under any of several names.
  using SetThreads = void (*)(int);
  if (auto* set = reinterpret_cast<SetThreads>(::dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
      set != nullptr) {
    set(threads);
  }
}

}  // namespace eigenscale
