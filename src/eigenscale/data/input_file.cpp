#include "eigenscale/data/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "eigenscale/comm/thread_team.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {

InputFile::InputFile(std::filesystem::path path) : name_(path.string()) {
  // Asked before opening: opening a pipe that nobody writes to would wait for ever.
  struct stat status {};
  if (::stat(name_.c_str(), &status) != 0) {
    throw InputError("cannot open '" + name_ + "': " + std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) {
    throw InputError("'" + name_ + "' is " +
                     (S_ISDIR(status.st_mode) ? "a directory" : "not a regular file") +
                     "; a data file is expected");
  }
  descriptor_ = ::open(name_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) {
    throw InputError("cannot open '" + name_ + "': " + std::strerror(errno));
  }
  // Of the open file: what was asked by name may be older on a network file system.
  if (::fstat(descriptor_, &status) != 0) {
    const std::string reason = std::strerror(errno);
    ::close(descriptor_);
    throw InputError("cannot open '" + name_ + "': " + reason);
  }
  size_ = status.st_size;
  written_ = status.st_mtim;
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

void InputFile::read(std::int64_t offset, void* data, std::int64_t bytes) const {
  // What a thread of several copies at once: where files are in the system's cache, one alone fills
  // some gigabyte of new memory a second.
  const std::int64_t most = std::int64_t{team_threads() > 1 ? 2 : 1024} << 20;
  require_unchanged();
  in_team((bytes + most - 1) / most, [&](std::int64_t part) {
    const std::int64_t first = part * most;
    read_part(offset + first, static_cast<char*>(data) + first, std::min(most, bytes - first),
              offset + bytes);
  });
  require_unchanged();  // or what was written meanwhile would be in the last read of all
}

void InputFile::read_part(std::int64_t offset, char* next, std::int64_t bytes,
                          std::int64_t end) const {
  for (std::int64_t left = bytes; left > 0;) {
    const std::int64_t position = offset + bytes - left;
    const ssize_t done = ::pread(descriptor_, next, left, position);
    if (done < 0 && errno == EINTR) {
      continue;
    }
    if (done < 0) {
      throw InputError("cannot read '" + name_ + "' at offset " + std::to_string(position) + ": " +
                       std::strerror(errno));
    }
    if (done == 0) {
      throw InputError("'" + name_ + "' ends at offset " + std::to_string(position) + ", where " +
                       std::to_string(end - position) + " more bytes are expected");
    }
    next += done;
    left -= done;
  }
}

void InputFile::require_unchanged() const {
  struct stat status {};
  if (::fstat(descriptor_, &status) != 0) {
    throw InputError("cannot read '" + name_ + "': " + std::strerror(errno));
  }
  if (status.st_size != size_) {
    throw InputError("'" + name_ + "' changed while it was read: it had " + std::to_string(size_) +
                     " bytes when it was opened, now it has " + std::to_string(status.st_size));
  }
  if (status.st_mtim.tv_sec != written_.tv_sec || status.st_mtim.tv_nsec != written_.tv_nsec) {
    throw InputError("'" + name_ +
                     "' changed while it was read: it was written to after it was opened");
  }
}

void InputFile::require_size(std::int64_t bytes) const {
  if (size_ < bytes) {
    throw InputError("'" + name_ + "' is truncated: it ends at offset " + std::to_string(size_) +
                     ", its header promises " + std::to_string(bytes) + " bytes");
  }
  if (size_ > bytes) {
    throw InputError("'" + name_ + "' has " + std::to_string(size_) +
                     " bytes, its header promises only " + std::to_string(bytes));
  }
}

}  // namespace eigenscale
