#include "eigenscale/report/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>

#include "eigenscale/core/clock.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/report/run_lock_holder.h"

namespace eigenscale {
namespace {

namespace fs = std::filesystem;
using State = RunLockHolder::State;

constexpr double kLookEvery = 0.25;

[[noreturn]] void refuse(const fs::path& directory, const RunLockHolder& holder) {
  throw OptionError("'" + directory.string() + "' is in use by " + holder.in_words() +
                    "; wait for its end, or give another --output");
}

void pause() { std::this_thread::sleep_for(std::chrono::duration<double>(kLookEvery)); }

/// Watches holders of whom only time tells.
class Watch {
 public:
  Watch(fs::path directory, double stale) : directory_(std::move(directory)), stale_(stale) {}

  /// True when `holder` has not renewed its file for long enough. Refuses one that has while we
  /// looked.
  bool is_dead(const RunLockHolder& holder) {
    if (!seen_ || holder.text != seen_->text) {
      seen_ = holder;
      since_ = now_seconds();
      if (file_system_seconds(directory_) - holder.renewed >= stale_) {
        return true;
      }
      log_info("'{}' belongs to {}: looking for up to {:.0f} s whether that one lives",
               directory_.string(), holder.in_words(), stale_);
    }
    if (holder.renewed != seen_->renewed) {
      refuse(directory_, holder);
    }
    return now_seconds() - since_ >= stale_;
  }

 private:
  fs::path directory_;
  double stale_;
  std::optional<RunLockHolder> seen_;
  double since_ = 0;
};

/// True when `path` still names the file behind `descriptor`.
bool names(const fs::path& path, int descriptor) {
  struct stat own = {};
  struct stat named = {};
  return ::fstat(descriptor, &own) == 0 && ::lstat(path.c_str(), &named) == 0 &&
         own.st_ino == named.st_ino && own.st_dev == named.st_dev;
}

/// Removes `path` if it still names the file behind `descriptor`. Of several processes that try one
/// does it at a time: they take the file's advisory lock, which the system takes back from one that
/// dies. So the lock that the next holder makes under the same name does not go. (A file system
/// without advisory locks leaves the moment between the look and the removal.) False, with errno
/// set, when it cannot be removed.
bool remove_own(const fs::path& path, int descriptor) {
  while (::flock(descriptor, LOCK_EX) != 0 && errno == EINTR) {
  }
  const bool removed = !names(path, descriptor) || ::unlink(path.c_str()) == 0 || errno == ENOENT;
  const int reason = errno;
  ::flock(descriptor, LOCK_UN);
  errno = reason;
  return removed;
}

/// Removes the lock of a dead holder, if it is still there.
void remove_dead(const fs::path& lock, const RunLockHolder& dead) {
  // Network file systems lock only what is open for writing; another user's file may not be.
  int descriptor = ::open(lock.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0 && (errno == EACCES || errno == EROFS)) {
    descriptor = ::open(lock.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  }
  if (descriptor < 0) {
    return;  // gone, or no file: the next look tells
  }
  // What was read before may have been another file of the same name.
  const auto now = RunLockHolder::read(lock);
  const bool same = now && now->text == dead.text && names(lock, descriptor);
  const bool stays = same && !remove_own(lock, descriptor);
  const int reason = errno;
  ::close(descriptor);
  if (stays) {
    throw OutputError("cannot remove the lock of a dead run, '" + lock.string() +
                      "': " + std::strerror(reason));
  }
}

}  // namespace

RunLock::RunLock(const fs::path& directory, const std::string& program, Times times)
    : path_(directory / kName), times_(times), content_(RunLockHolder::describe_self(program)) {
  Watch watch(directory, times_.stale);
  while (!try_to_create()) {
    const auto holder = RunLockHolder::read(path_);
    if (!holder) {
      continue;  // released between the two looks
    }
    const auto state = holder->state();
    if (state == State::kAlive) {
      refuse(directory, *holder);
    }
    if (state == State::kDead || watch.is_dead(*holder)) {
      remove_dead(path_, *holder);
    } else {
      pause();
    }
  }
  thread_ = std::thread([this] { renew(); });
}

RunLock::~RunLock() {
  {
    const std::lock_guard guard(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
  remove_own(path_, descriptor_);
  ::close(descriptor_);
}

bool RunLock::try_to_create() {
  descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (descriptor_ < 0 && errno == EEXIST) {
    return false;
  }
  const auto bytes = static_cast<ssize_t>(content_.size());
  if (descriptor_ < 0 || ::write(descriptor_, content_.data(), content_.size()) != bytes ||
      ::fsync(descriptor_) != 0) {
    const std::string reason = std::strerror(errno);
    if (descriptor_ >= 0) {
      ::close(descriptor_);
      ::unlink(path_.c_str());
    }
    throw OutputError("cannot write the lock '" + path_.string() + "': " + reason);
  }
  return true;
}

void RunLock::renew() {
  const auto every = std::chrono::duration<double>(times_.heartbeat);
  std::unique_lock guard(mutex_);
  while (!wake_.wait_for(guard, every, [&] { return stopping_; })) {
    struct stat own = {};
    const bool known = ::fstat(descriptor_, &own) == 0;
    if (known ? own.st_nlink == 0 : errno == ESTALE) {  // the second on a network file system
      lost_ = true;
    }
    ::futimens(descriptor_, nullptr);
  }
}

void RunLock::refuse_living_holder(const fs::path& directory) {
  const auto holder = RunLockHolder::read(directory / kName);
  if (holder && holder->state() == State::kAlive) {
    refuse(directory, *holder);
  }
}

}  // namespace eigenscale
