#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

namespace eigenscale {

/// One process's hold on a run directory: a file in it, made so that only one maker succeeds (which
/// network file systems honour, too), that names host, process and start. The lock of a dead holder
/// stops nobody: on the same machine the process is looked up; of another machine's, or another
/// container's, the file's time tells, which its holder renews every `heartbeat` seconds. Owns the
/// file, its descriptor and the thread that renews it.
class RunLock {
 public:
  struct Times {
    double heartbeat = 5;
    double stale = 60;  ///< seconds without renewal after which a holder elsewhere counts as dead
  };

  /// [local] Locks an existing directory for `program`. OptionError names the holder when another
  /// process has it; waits, up to `stale` seconds, where only time can tell. OutputError when the
  /// file cannot be made, or a dead holder's cannot be removed.
  RunLock(const std::filesystem::path& directory, const std::string& program, Times times);
  RunLock(const std::filesystem::path& directory, const std::string& program)
      : RunLock(directory, program, Times()) {}
  /// Removes the file, unless it is another's by now.
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

  /// [local] True when the hold was lost: this process had stood still, and another took over.
  bool lost() const { return lost_; }

  /// [local] OptionError when a process of this machine that lives has the lock. Changes nothing.
  static void refuse_living_holder(const std::filesystem::path& directory);

  /// The lock file's name in a run directory.
  static constexpr const char* kName = ".eigenscale.lock";

 private:
  bool try_to_create();
  void renew();

  std::filesystem::path path_;
  Times times_;
  std::string content_;
  int descriptor_ = -1;
  std::atomic<bool> lost_ = false;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace eigenscale
