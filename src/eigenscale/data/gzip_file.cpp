#include "eigenscale/data/gzip_file.h"

#include <algorithm>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

std::string zlib_message(gzFile stream, const std::string& name) {
  int code = Z_OK;
  const std::string text = ::gzerror(stream, &code);
  if (code == Z_BUF_ERROR) {
    return "the compressed data end too early";
  }
  const std::string prefix = name + ": ";
  return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
}

}  // namespace

GzipFile::GzipFile(const std::string& path) : name_(path), compressed_(path) {
  stream_ = ::gzopen(path.c_str(), "rbe");
  if (stream_ == nullptr) {
    throw InputError("cannot open '" + path + "'");
  }
  // zlib passes a file without the gzip magic through as it is.
  if (::gzdirect(stream_) != 0) {
    ::gzclose(stream_);
    throw InputError("'" + path + "' is not gzip: it does not begin with the bytes 1f 8b");
  }
}

GzipFile::~GzipFile() { ::gzclose(stream_); }

void GzipFile::read(std::int64_t offset, void* data, std::int64_t bytes) const {
  constexpr std::int64_t kLargestRead = std::int64_t{1} << 30;
  if (::gzseek(stream_, offset, SEEK_SET) < 0) {
    throw InputError("cannot inflate '" + name_ + "' up to offset " + std::to_string(offset) +
                     ": " + zlib_message(stream_, name_));
  }
  char* next = static_cast<char*>(data);
  for (std::int64_t left = bytes; left > 0;) {
    const int done = ::gzread(stream_, next, static_cast<unsigned>(std::min(left, kLargestRead)));
    if (done <= 0) {
      const std::string where = " at offset " + std::to_string(::gztell(stream_)) +
                                " of the inflated data, where " + std::to_string(left) +
                                " more bytes are expected";
      const std::string reason = zlib_message(stream_, name_);
      throw InputError("'" + name_ + "' is truncated or damaged" + where +
                       (reason.empty() ? "" : ": " + reason));
    }
    next += done;
    left -= done;
  }
  if (expected_size_ >= 0 && offset + bytes == expected_size_) {
    require_end(expected_size_);
  }
  compressed_.require_unchanged();
}

void GzipFile::require_size(std::int64_t bytes) const {
  // The format cannot shrink anything below 1/1032 (zlib's technical details).
  if (bytes / 1032 > compressed_.size()) {
    throw InputError("'" + name_ + "' is truncated or damaged: its header promises " +
                     std::to_string(bytes) + " bytes, more than " +
                     std::to_string(compressed_.size()) + " compressed bytes can hold");
  }
  expected_size_ = bytes;
}

void GzipFile::require_end(std::int64_t bytes) const {
  char extra = 0;
  const int done = ::gzread(stream_, &extra, 1);
  if (done > 0) {
    throw InputError("'" + name_ + "' has more inflated bytes than the " + std::to_string(bytes) +
                     " its header promises");
  }
  if (done < 0 || !zlib_message(stream_, name_).empty()) {
    throw InputError("'" + name_ + "' is damaged after offset " + std::to_string(bytes) +
                     " of the inflated data: " + zlib_message(stream_, name_));
  }
}

}  // namespace eigenscale
