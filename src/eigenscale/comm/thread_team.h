#pragma once

#include <cstdint>
#include <functional>

namespace eigenscale {

/// [local] Says how many threads a team has, one at first; share_cores does (comm/threads.h).
void set_team_threads(int threads);

/// [local] Calls `work` with each number from 0 to `count` - 1 once, by the threads of this rank,
/// and returns when all are done. Throws what the smallest of the numbers that failed threw. Within
/// `work` loops of torch have one thread; so must OpenBLAS have (BorrowedThreads) if it is called
/// there.
void in_team(std::int64_t count, const std::function<void(std::int64_t)>& work);

}  // namespace eigenscale
