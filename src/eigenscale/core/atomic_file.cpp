#include "eigenscale/core/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <random>
#include <utility>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const char* action) {
  throw OutputError("cannot " + std::string(action) + " '" + path.string() +
                    "': " + std::strerror(errno));
}

}  // namespace

// A rename survives a power cut only when the directory that records it is on the disk, too.
void sync_directory(const std::filesystem::path& directory) {
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor >= 0) {
    ::fsync(descriptor);
    ::close(descriptor);
  }
}

std::filesystem::path temporary_name(const std::filesystem::path& path, const std::string& token) {
  return path.parent_path() /
         ("." + path.filename().string() + (token.empty() ? "" : "." + token) + ".partial");
}

std::string unique_token() {
  static std::atomic<unsigned> calls = 0;
  std::random_device random;
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%ld-%u-%08x%08x", static_cast<long>(::getpid()),
                calls.fetch_add(1), random(), random());
  return text.data();
}

int create_temporary(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  const int descriptor =
      ::open(temporary.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
  if (descriptor < 0) {
    fail(path, "create");
  }
  return descriptor;
}

void remove_temporaries(const std::filesystem::path& path) {
  const auto directory = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  const std::string prefix = "." + path.filename().string() + ".";
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    const auto name = entry.path().filename().string();
    if (name.starts_with(prefix) && name.ends_with(".partial")) {
      std::filesystem::remove_all(entry.path(), ignored);
    }
  }
}

void publish_file(const std::filesystem::path& temporary, const std::filesystem::path& path) {
  const int descriptor = ::open(temporary.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) {
    fail(temporary, "open");
  }
  const int synced = ::fsync(descriptor);
  ::close(descriptor);
  if (synced != 0) {
    fail(temporary, "flush");
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    fail(path, "rename to");
  }
  sync_directory(path.has_parent_path() ? path.parent_path() : std::filesystem::path("."));
}

AtomicFile::AtomicFile(std::filesystem::path path)
    : path_(std::move(path)),
      temporary_(temporary_name(path_, unique_token())),
      descriptor_(create_temporary(temporary_, path_)) {}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
    ::unlink(temporary_.c_str());
  }
}

void AtomicFile::write(const void* data, std::int64_t bytes) {
  const char* next = static_cast<const char*>(data);
  constexpr std::int64_t kLargestWrite = std::int64_t{1} << 30;
  while (bytes > 0) {
    const ssize_t done = ::write(descriptor_, next, std::min(bytes, kLargestWrite));
    if (done < 0 && errno == EINTR) {
      continue;
    }
    if (done < 0) {
      fail(path_, "write");
    }
    next += done;
    bytes -= done;
  }
}

void AtomicFile::commit() {
  try {
    if (::close(std::exchange(descriptor_, -1)) != 0) {
      fail(path_, "close");
    }
    publish_file(temporary_, path_);
  } catch (...) {
    ::unlink(temporary_.c_str());
    throw;
  }
}

void write_file(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace eigenscale
