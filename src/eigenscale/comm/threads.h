#pragma once

#include <sched.h>

#include <cstddef>
#include <functional>
#include <string>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// [local] First in main: OpenMP's threads are to sleep as soon as they have nothing to do. By
/// default they look for work for milliseconds, on the very cores where OpenBLAS's threads have
/// begun (docs/performance.md, "Threads that wait"). libgomp reads OMP_WAIT_POLICY when it is
/// loaded, so that the process starts its program once more with that variable and the same
/// arguments, which takes half a second. What main had done before is lost, and done again. It does
/// not where the user has said how threads wait, the rank is known to have one thread, MPI has been
/// initialised, or the loader was called by its name.
void let_idle_threads_sleep();

/// [local] The variable that says how idle threads wait, such as "OMP_WAIT_POLICY=passive"; empty
/// where none does.
std::string idle_threads();

/// [collective] Shares the cores of each host among its ranks: torch and OpenBLAS get as many
/// threads as a rank has cores (of those that its container may use), unless OMP_NUM_THREADS says
/// otherwise. Both would take every core in every rank.
void share_cores(const Communicator& world);

/// [collective] How many threads rank 0 may take while all others wait: those of all ranks
/// together, of which it has cores; 0 unless all ranks are on one host.
int threads_of_all(const Communicator& world);

/// Gives OpenBLAS another number of threads, and back the former one at its end. Not torch: it
/// would start a pool anew every time, whose threads spin for milliseconds where OpenBLAS's are to
/// work.
class BorrowedThreads {
 public:
  /// [local]
  explicit BorrowedThreads(int threads);
  ~BorrowedThreads();
  BorrowedThreads(const BorrowedThreads&) = delete;
  BorrowedThreads& operator=(const BorrowedThreads&) = delete;

 private:
  int before_;
};

/// [collective] A barrier in which those who wait sleep, a millisecond at a time at most, and leave
/// their cores to who has not come yet.
void wait_asleep(const Communicator& world);

/// [collective] The first rank does `work` with OpenBLAS's threads of all that share its host, at
/// least its own, while the others sleep. What it throws, all ranks throw (agreed).
void on_first_with_all_threads(const Communicator& world, const std::function<void()>& work);

/// [local] The processors in the mask that `get_mask` fills, which fails for masks too small for
/// this machine, as sched_getaffinity does.
int processors_in_mask(const std::function<int(std::size_t, cpu_set_t*)>& get_mask);

}  // namespace eigenscale
