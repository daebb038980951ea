#pragma once

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <string>

namespace eigenscale {

/// Bytes that can be read from any offset. Errors are InputError with file, offset, what was found
/// and what was expected.
class ByteSource {
 public:
  virtual ~ByteSource() = default;

  /// [local] Fills `data` with the `bytes` bytes from `offset` on, all of them or an error.
  virtual void read(std::int64_t offset, void* data, std::int64_t bytes) const = 0;
  /// [local] InputError unless exactly `bytes` bytes are there; a compressed source may put the
  /// check off until its last byte is read.
  virtual void require_size(std::int64_t bytes) const = 0;
};

/// A regular file, open for reading by position (pread: a file that shrinks under us is an error
/// with an offset; under a memory map it would be a signal). Owns the descriptor.
class InputFile final : public ByteSource {
 public:
  explicit InputFile(std::filesystem::path path);
  ~InputFile() override;
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& name() const { return name_; }
  /// Bytes in the file when it was opened.
  std::int64_t size() const { return size_; }
  void read(std::int64_t offset, void* data, std::int64_t bytes) const override;
  void require_size(std::int64_t bytes) const override;
  /// [local] InputError when the file was written to since it was opened, by its size or the time
  /// that the file system keeps. Every read asks.
  void require_unchanged() const;

 private:
  /// Of a read that ends at `end`.
  void read_part(std::int64_t offset, char* next, std::int64_t bytes, std::int64_t end) const;

  std::string name_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;
  std::timespec written_{};  ///< when, at the time of opening
};

}  // namespace eigenscale
