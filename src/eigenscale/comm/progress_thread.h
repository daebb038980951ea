#pragma once

#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Tests collectives under way from a thread of its own: Open MPI advances them only inside calls.
/// Borrows the works between `add` and `release_all`; between tests it sleeps, so that it takes
/// little from the thread that computes.
class ProgressThread {
 public:
  ProgressThread();
  ~ProgressThread();
  ProgressThread(const ProgressThread&) = delete;
  ProgressThread& operator=(const ProgressThread&) = delete;

  /// [local]
  void add(Work& work);
  /// [local] Afterwards the thread touches no work any more: the caller may wait for them. Throws
  /// what a test threw in the thread.
  void release_all();

 private:
  void run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Work*> works_;
  std::exception_ptr failure_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace eigenscale
