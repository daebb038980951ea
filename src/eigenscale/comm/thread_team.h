#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace eigenscale {

/// [local] How many threads a team of the calling thread has: OpenMP's number in it, which
/// torch::set_num_threads and, built with OpenMP, OpenBLAS's call set, too.
int team_threads();

/// [local] Calls `work` with each number from 0 to `count` - 1 once, by a team of the calling
/// thread, and returns when all are done. Throws what the smallest of the numbers that failed
/// threw. In a team of several, loops of torch within `work` have one thread; so must OpenBLAS have
/// (BorrowedThreads, `threads` asked for before) if it is called there.
void in_team(std::int64_t count, const std::function<void(std::int64_t)>& work,
             int threads = team_threads());

/// [local] The processors among which OpenMP places its threads, as OMP_PLACES and OMP_PROC_BIND
/// say; empty where it leaves that to the system.
std::vector<int> processors_of_places();

}  // namespace eigenscale
