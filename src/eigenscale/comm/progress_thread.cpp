#include "eigenscale/comm/progress_thread.h"

#include <chrono>
#include <utility>

namespace eigenscale {
namespace {

constexpr auto kPause = std::chrono::microseconds(50);

}  // namespace

ProgressThread::ProgressThread() : thread_([this] { run(); }) {}

ProgressThread::~ProgressThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void ProgressThread::add(Work& work) {
  {
    const std::lock_guard lock(mutex_);
    works_.push_back(&work);
  }
  wake_.notify_one();
}

void ProgressThread::release_all() {
  const std::lock_guard lock(mutex_);
  works_.clear();
  if (failure_) {
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }
}

void ProgressThread::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !works_.empty(); });
    if (stopping_) {
      return;
    }
    try {
      std::erase_if(works_, [](Work* work) { return work->test(); });
    } catch (...) {
      failure_ = std::current_exception();
      works_.clear();
    }
    lock.unlock();
    std::this_thread::sleep_for(kPause);
    lock.lock();
  }
}

}  // namespace eigenscale
