#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace eigenscale {

/// A file that appears under its name only when it is complete: written under a temporary name in
/// the same directory, synced, renamed. The name is one that nobody else uses, and is never opened
/// through a link. Owns the file descriptor and the temporary file; dropping
/// it before `commit()` removes what was written. All errors are OutputError with path and reason.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// [local] Appends.
  void write(const void* data, std::int64_t bytes);
  void write(std::string_view text) { write(text.data(), static_cast<std::int64_t>(text.size())); }
  /// [local] Flushes to the disk and gives the file its name.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

/// [local] Writes `text` as the whole content of `path`, atomically.
void write_file(const std::filesystem::path& path, std::string_view text);

/// [local] Syncs the names in `directory`, as far as its file system can.
void sync_directory(const std::filesystem::path& directory);
/// The name under which `path` is written before it is complete; `token` tells writers apart.
std::filesystem::path temporary_name(const std::filesystem::path& path,
                                     const std::string& token = "");
/// [local] A token that no other process, and no other call in this one, has.
std::string unique_token();
/// [local] Creates `temporary` anew, for reading and writing, and returns its descriptor: whatever
/// has that name already, a link too, is an error. OutputError speaks of `path`.
int create_temporary(const std::filesystem::path& temporary, const std::filesystem::path& path);
/// [local] Removes what writers of `path` that were killed left behind. Only when nobody writes it.
void remove_temporaries(const std::filesystem::path& path);
/// [local] Syncs the finished file `temporary` and renames it to `path`.
void publish_file(const std::filesystem::path& temporary, const std::filesystem::path& path);

}  // namespace eigenscale
