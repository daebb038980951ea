#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/data/npy_file.h"
#include "eigenscale/data/row_placement.h"

namespace eigenscale {
namespace {

// One rank's hold on the file that all ranks write. Closed by the destructor if not before.
class PositionedOutput {
 public:
  PositionedOutput(const std::filesystem::path& path, int flags) : path_(path) {
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | flags, 0666);
    if (descriptor_ < 0) {
      fail("create");
    }
  }
  ~PositionedOutput() {
    if (descriptor_ >= 0) {
      ::close(descriptor_);
    }
  }
  PositionedOutput(const PositionedOutput&) = delete;
  PositionedOutput& operator=(const PositionedOutput&) = delete;

  void write(std::int64_t offset, const void* data, std::int64_t bytes) {
    constexpr std::int64_t kLargestWrite = std::int64_t{1} << 30;
    const char* next = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t done = ::pwrite(descriptor_, next, std::min(bytes, kLargestWrite), offset);
      if (done < 0 && errno == EINTR) {
        continue;
      }
      if (done < 0) {
        fail("write");
      }
      next += done;
      offset += done;
      bytes -= done;
    }
  }

  // On a network file system only the node that wrote can force its data out.
  void sync() {
    if (::fsync(descriptor_) != 0) {
      fail("flush");
    }
  }

 private:
  [[noreturn]] void fail(const char* action) const {
    throw OutputError(std::string("cannot ") + action + " '" + path_.string() +
                      "': " + std::strerror(errno));
  }

  std::filesystem::path path_;
  int descriptor_ = -1;
};

}  // namespace

void write_npy(const Communicator& communicator, const std::filesystem::path& path,
               torch::ScalarType type, const std::vector<std::int64_t>& row_shape,
               std::int64_t own_rows, const RowProducer& produce) {
  constexpr std::int64_t kChunkBytes = std::int64_t{16} << 20;
  std::ostringstream layout;
  layout << path.string() << ' ' << torch::toString(type) << " x " << row_shape;
  require_same_on_all_ranks(communicator, "the array to be written", layout.str());
  const RowPlacement placement = place_rows(communicator, own_rows);

  const auto temporary = temporary_name(path);
  const bool is_root = communicator.rank() == 0;
  try {
    on_all_ranks(
        communicator,
        [&] {
          if (is_root) {
            PositionedOutput(temporary, O_CREAT | O_TRUNC);
          }
        },
        ExitCode::kOutput);
    on_all_ranks(
        communicator,
        [&] {
          const ElementType element = element_type_of(type);
          const std::int64_t row_bytes = byte_count(row_shape, element.bytes, path.string());
          std::vector<std::int64_t> shape = {placement.total};
          shape.insert(shape.end(), row_shape.begin(), row_shape.end());
          const std::string header = format_npy_header(element, shape);
          PositionedOutput file(temporary, 0);
          if (is_root) {
            file.write(0, header.data(), static_cast<std::int64_t>(header.size()));
          }
          const std::int64_t chunk =
              std::max<std::int64_t>(1, kChunkBytes / std::max<std::int64_t>(1, row_bytes));
          const std::int64_t end = placement.first + own_rows;
          for (std::int64_t row = placement.first; row < end; row += chunk) {
            const RowRange range{row, std::min(end, row + chunk)};
            shape.front() = range.size();
            const auto rows = produce(range).detach().cpu().contiguous();
            if (rows.scalar_type() != type || rows.sizes() != shape) {
              throw std::logic_error("rows for '" + path.string() + "' have another type or shape");
            }
            file.write(static_cast<std::int64_t>(header.size()) + row * row_bytes, rows.data_ptr(),
                       range.size() * row_bytes);
          }
          file.sync();
        },
        ExitCode::kOutput);
    on_all_ranks(
        communicator,
        [&] {
          if (is_root) {
            publish_file(temporary, path);
          }
        },
        ExitCode::kOutput);
  } catch (...) {
    if (is_root) {
      ::unlink(temporary.c_str());
    }
    throw;
  }
}

void write_npy(const Communicator& communicator, const std::filesystem::path& path,
               const torch::Tensor& own_rows) {
  const std::vector<std::int64_t> row_shape(own_rows.sizes().begin() + 1, own_rows.sizes().end());
  // The rows come in ascending order from this rank's first on.
  std::int64_t done = 0;
  write_npy(communicator, path, own_rows.scalar_type(), row_shape, own_rows.size(0),
            [&](RowRange range) {
              const auto rows = own_rows.narrow(0, done, range.size());
              done += range.size();
              return rows;
            });
}

}  // namespace eigenscale
