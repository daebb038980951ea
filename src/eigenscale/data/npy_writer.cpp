#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/data/npy_file.h"
#include "eigenscale/data/row_writer.h"

namespace eigenscale {
namespace {

// One rank's hold on the file that all ranks write. Closed by the destructor if not before.
class PositionedOutput {
 public:
  explicit PositionedOutput(const std::filesystem::path& path) : path_(path) {
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (descriptor_ < 0) {
      fail("open");
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

class NpyWriter final : public RowWriter {
 public:
  NpyWriter(const Communicator& communicator, const RowArray& array)
      : RowWriter(communicator, array) {
    on_all_ranks(
        communicator,
        [&] {
          const ElementType element = element_type_of(array.type);
          row_bytes_ = byte_count(array.row_shape, element.bytes, array.path.string());
          auto shape = array.row_shape;
          shape.insert(shape.begin(), placement_.total);
          const std::string header = format_npy_header(element, shape);
          header_bytes_ = static_cast<std::int64_t>(header.size());
          file_.emplace(temporary_);
          if (communicator.rank() == 0) {
            file_->write(0, header.data(), header_bytes_);
          }
        },
        ExitCode::kOutput);
  }

 protected:
  void write_rows(std::int64_t first, const torch::Tensor& rows) override {
    on_all_ranks(
        communicator_,
        [&] {
          file_->write(header_bytes_ + first * row_bytes_, rows.data_ptr(),
                       rows.size(0) * row_bytes_);
        },
        ExitCode::kOutput);
  }

  void finish() override {
    on_all_ranks(
        communicator_, [&] { file_->sync(); }, ExitCode::kOutput);
    file_.reset();
  }

 private:
  std::optional<PositionedOutput> file_;
  std::int64_t header_bytes_ = 0;
  std::int64_t row_bytes_ = 0;
};

}  // namespace

std::unique_ptr<RowWriter> create_npy(const Communicator& communicator, const RowArray& array) {
  return std::make_unique<NpyWriter>(communicator, array);
}

void write_npy(const Communicator& communicator, const std::filesystem::path& path,
               torch::ScalarType type, const std::vector<std::int64_t>& row_shape,
               std::int64_t own_rows, const RowProducer& produce) {
  constexpr std::int64_t kChunkBytes = std::int64_t{16} << 20;
  const auto writer = create_npy(
      communicator,
      {.path = path, .dataset = "", .type = type, .row_shape = row_shape, .own_rows = own_rows});
  std::int64_t row_bytes = static_cast<std::int64_t>(torch::elementSize(type));
  for (const std::int64_t size : row_shape) {
    row_bytes *= size;
  }
  const std::int64_t chunk =
      std::max<std::int64_t>(1, kChunkBytes / std::max<std::int64_t>(1, row_bytes));
  const std::int64_t first = place_rows(communicator, own_rows).first;
  const std::int64_t most = all_reduce(communicator, own_rows, ReduceOp::kMax);
  for (std::int64_t begin = 0; begin < most; begin += chunk) {
    const std::int64_t count = std::clamp<std::int64_t>(own_rows - begin, 0, chunk);
    auto shape = row_shape;
    shape.insert(shape.begin(), 0);
    auto rows = torch::empty(shape, type);
    on_all_ranks(
        communicator,
        [&] {
          if (count > 0) {
            rows = produce({first + begin, first + begin + count});
          }
        },
        ExitCode::kOutput);
    writer->append(rows);
  }
  writer->commit();
}

void write_npy(const Communicator& communicator, const std::filesystem::path& path,
               const torch::Tensor& own_rows) {
  const auto writer =
      create_npy(communicator, {.path = path,
                                .dataset = "",
                                .type = own_rows.scalar_type(),
                                .row_shape = {own_rows.sizes().begin() + 1, own_rows.sizes().end()},
                                .own_rows = own_rows.size(0)});
  writer->append(own_rows);
  writer->commit();
}

}  // namespace eigenscale
