#include "eigenscale/comm/threads.h"

#include <dlfcn.h>
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/memory_check.h"
#include "eigenscale/comm/thread_team.h"
#include "eigenscale/core/cgroup.h"

namespace eigenscale {

int processors_in_mask(const std::function<int(std::size_t, cpu_set_t*)>& get_mask) {
  // The kernel refuses a mask that is smaller than its own, whose size it does not tell.
  constexpr int kMostProcessors = 1 << 20;
  for (int processors = CPU_SETSIZE; processors <= kMostProcessors; processors *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> mask(
        CPU_ALLOC(processors), [](cpu_set_t* set) { CPU_FREE(set); });
    const std::size_t bytes = CPU_ALLOC_SIZE(processors);
    CPU_ZERO_S(bytes, mask.get());
    if (get_mask(bytes, mask.get()) == 0) {
      return std::max(1, CPU_COUNT_S(bytes, mask.get()));
    }
  }
  return 1;
}

namespace {

constexpr const char* kWaitPolicy = "OMP_WAIT_POLICY";

int bound_processors() {
  return processors_in_mask(
      [](std::size_t bytes, cpu_set_t* mask) { return ::sched_getaffinity(0, bytes, mask); });
}

/// Processors that the container may use.
double container_processors() {
  // Read once: a tenth of a small eigenproblem is no time for a dozen files.
  static const double limit = processor_limit();
  return limit;
}

/// Processors that this process is bound to, of those its container may use.
int allowed_processors() {
  return std::max(1,
                  static_cast<int>(std::min<double>(bound_processors(), container_processors())));
}

/// Threads of one of so many ranks on this host. A launcher that binds gives each rank its own few
/// cores; one that does not gives all of them all.
int threads_for(int ranks_on_host) {
  const auto online = static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN));
  const int allowed = static_cast<int>(std::min(online, container_processors()));
  return std::max(1, std::min(bound_processors(), allowed / ranks_on_host));
}

/// The arguments of this process, whatever main has made of them since.
std::vector<std::string> own_arguments() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::vector<std::string> arguments;
  for (std::string argument; std::getline(file, argument, '\0');) {
    arguments.push_back(argument);
  }
  return arguments;
}

/// OpenMP has bound this thread to the first of its places; what starts next is to see them all.
void bind_to(const std::vector<int>& processors) {
  if (processors.empty()) {
    return;
  }
  const int count = 1 + *std::ranges::max_element(processors);
  const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> mask(
      CPU_ALLOC(count), [](cpu_set_t* set) { CPU_FREE(set); });
  CPU_ZERO_S(CPU_ALLOC_SIZE(count), mask.get());
  for (const int processor : processors) {
    CPU_SET_S(processor, CPU_ALLOC_SIZE(count), mask.get());
  }
  ::sched_setaffinity(0, CPU_ALLOC_SIZE(count), mask.get());
}

/// torch does not pass its number on to OpenBLAS, which is there under any of several names.
void set_blas_threads(int threads) {
  using SetThreads = void (*)(int);
  if (auto* set = reinterpret_cast<SetThreads>(::dlsym(RTLD_DEFAULT, "openblas_set_num_threads"));
      set != nullptr) {
    set(threads);
  }
}

int blas_threads() {
  using GetThreads = int (*)();
  auto* get = reinterpret_cast<GetThreads>(::dlsym(RTLD_DEFAULT, "openblas_get_num_threads"));
  return get == nullptr ? 1 : get();
}

}  // namespace

std::string idle_threads() {
  for (const std::string name : {"GOMP_SPINCOUNT", "KMP_BLOCKTIME", kWaitPolicy}) {
    if (const auto* value = std::getenv(name.c_str()); value != nullptr) {
      return name + "=" + value;
    }
  }
  return "";
}

void let_idle_threads_sleep() {
  if (!idle_threads().empty()) {
    return;
  }
  // Open MPI and MPICH say how many ranks will share a host's cores.
  const auto number = [](const char* name, int otherwise) {
    const auto* value = std::getenv(name);
    return value == nullptr ? otherwise : std::max(1, std::atoi(value));
  };
  const int ranks = number("OMPI_COMM_WORLD_LOCAL_SIZE", number("MPI_LOCALNRANKS", 1));
  int initialized = 0;
  MPI_Initialized(&initialized);
  if (number("OMP_NUM_THREADS", threads_for(ranks)) == 1 || initialized != 0) {
    return;
  }
  // Not /proc/self/exe itself, which would be the program's name in ps.
  std::error_code none;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", none);
  auto arguments = own_arguments();
  if (none || arguments.empty() || program.filename().string().starts_with("ld-")) {
    return;
  }
  bind_to(processors_of_places());
  ::setenv(kWaitPolicy, "passive", 1);
  std::vector<char*> pointers;
  for (auto& argument : arguments) {
    pointers.push_back(argument.data());
  }
  pointers.push_back(nullptr);
  ::execv(program.c_str(), pointers.data());
  // A program that has been deleted cannot start again and goes on, its first thread on any place.
  ::unsetenv(kWaitPolicy);
}

void share_cores(const Communicator& world) {
  const int ranks = ranks_on_this_host(world);
  if (std::getenv("OMP_NUM_THREADS") != nullptr) {
    return;
  }
  const int threads = threads_for(ranks);
  torch::set_num_threads(threads);
  set_blas_threads(threads);
}

int threads_of_all(const Communicator& world) {
  // Where one finds all ranks on its host, all do.
  if (ranks_on_this_host(world) < world.size()) {
    return 0;
  }
  auto threads = torch::tensor(
      {std::int64_t{blas_threads()}, std::int64_t{world.rank() == 0 ? allowed_processors() : 0}});
  world.all_reduce(threads);
  return static_cast<int>(threads.min().item<std::int64_t>());
}

BorrowedThreads::BorrowedThreads(int threads) : before_(blas_threads()) {
  set_blas_threads(threads);
}

BorrowedThreads::~BorrowedThreads() { set_blas_threads(before_); }

void wait_asleep(const Communicator& world) {
  using Seconds = std::chrono::duration<double>;
  // To wake and look takes about so long from those who work: naps of the root of this times the
  // time waited lose as much by that as by sleeping on when all have come.
  constexpr double kLook = 5e-6;
  const auto barrier = world.start_barrier();
  const auto begin = std::chrono::steady_clock::now();
  while (!barrier->test()) {
    const double waited = Seconds(std::chrono::steady_clock::now() - begin).count();
    std::this_thread::sleep_for(Seconds(std::clamp(std::sqrt(kLook * waited), 2e-5, 1e-3)));
  }
  barrier->wait();
}

void on_first_with_all_threads(const Communicator& world, const std::function<void()>& work) {
  const int threads = std::max(threads_of_all(world), 1);
  std::exception_ptr failure;
  if (world.rank() == 0) {
    const BorrowedThreads borrowed(threads);
    try {
      work();
    } catch (...) {
      failure = std::current_exception();
    }
  }
  wait_asleep(world);
  on_first_rank(world, [&] {
    if (failure) {
      std::rethrow_exception(failure);
    }
  });
}

}  // namespace eigenscale
