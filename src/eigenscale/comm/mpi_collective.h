#pragma once

#include <mpi.h>

#include <algorithm>
#include <list>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/comm/mpi_types.h"
#include "eigenscale/comm/ragged_rows.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/trace.h"

namespace eigenscale {

/// Counted by every call: made once, since a call of 64 KiB takes 30 microseconds.
inline const std::string kCallsCounter = "communication.calls";
inline const std::string kBytesCounter = "communication.bytes";
inline const std::string kNanosecondsCounter = "communication.nanoseconds";

/// Counts the time of its life as spent in communication.
class CountedTime {
 public:
  CountedTime() : begin_(now_seconds()) {}
  ~CountedTime() {
    count(kNanosecondsCounter, static_cast<std::int64_t>(1e9 * (now_seconds() - begin_)));
  }
  CountedTime(const CountedTime&) = delete;
  CountedTime& operator=(const CountedTime&) = delete;

 private:
  double begin_;
};

/// What must outlive the calls of one collective: its requests and the count arrays MPI reads.
struct Pending {
  std::vector<MPI_Request> requests;
  std::list<std::vector<int>> counts;
  /// For messages: the last call and the bytes of all.
  const char* call = "MPI_Waitall";
  std::int64_t bytes = 0;

  void wait() {
    const WatchedCall watched(call, bytes);
    const CountedTime time;
    check_mpi(MPI_Waitall(narrow_to_int(std::ssize(requests), "number of requests"),
                          requests.data(), MPI_STATUSES_IGNORE),
              "MPI_Waitall");
    requests.clear();
  }
};

inline void require_host_contiguous(const torch::Tensor& tensor) {
  if (!tensor.is_contiguous() || lies_on_device(tensor)) {
    throw std::invalid_argument("MPI collectives need contiguous host tensors");
  }
}

inline char* bytes_of(const torch::Tensor& tensor) { return static_cast<char*>(tensor.data_ptr()); }

inline std::int64_t row_bytes(const torch::Tensor& tensor) {
  std::int64_t bytes = tensor.element_size();
  for (std::int64_t dimension = 1; dimension < tensor.dim(); ++dimension) {
    bytes *= tensor.size(dimension);
  }
  return bytes;
}

/// One collective, in pieces of at most `chunk` elements.
struct Caller {
  MPI_Comm handle;
  int rank;
  int size;
  std::int64_t chunk;
  bool blocking;
  Pending& pending;

  template <typename Blocking, typename NonBlocking, typename... Arguments>
  void call(const char* name, std::int64_t bytes, Blocking blocking_call,
            NonBlocking non_blocking_call, Arguments... arguments) const {
    const TraceSpan span(name);
    const WatchedCall watched(name, bytes);
    count(kCallsCounter, 1);
    count(kBytesCounter, bytes);
    note(name, bytes);
    if (blocking) {
      const CountedTime time;
      check_mpi(blocking_call(arguments..., handle), name);
    } else {
      check_mpi(
          non_blocking_call(arguments..., handle, &pending.requests.emplace_back(MPI_REQUEST_NULL)),
          name);
    }
  }

  void note(const char* name, std::int64_t bytes) const {
    pending.call = name;
    pending.bytes += bytes;
  }

  /// Calls `piece(offset, count)` for pieces of [0, elements).
  template <typename Piece>
  void in_pieces(std::int64_t elements, Piece piece) const {
    for (std::int64_t offset = 0; offset < elements; offset += chunk) {
      piece(offset, narrow_to_int(std::min(chunk, elements - offset), "piece"));
    }
  }

  void all_reduce(const torch::Tensor& tensor, ReduceOp op) const {
    require_host_contiguous(tensor);
    const auto width = static_cast<std::int64_t>(tensor.element_size());
    in_pieces(tensor.numel(), [&](std::int64_t offset, int elements) {
      call("MPI_Allreduce", elements * width, MPI_Allreduce, MPI_Iallreduce, MPI_IN_PLACE,
           static_cast<void*>(bytes_of(tensor) + offset * width), elements,
           mpi_type(tensor.scalar_type()), mpi_operation(op, tensor.scalar_type()));
    });
  }

  void broadcast_bytes(char* data, std::int64_t bytes, int root) const {
    in_pieces(bytes, [&](std::int64_t offset, int piece) {
      call("MPI_Bcast", piece, MPI_Bcast, MPI_Ibcast, static_cast<void*>(data + offset), piece,
           MPI_BYTE, root);
    });
  }

  /// `output` may be `input`; only the root's is written.
  void reduce(char* input, char* output, std::int64_t elements, torch::ScalarType type, ReduceOp op,
              int root) const {
    const auto width = static_cast<std::int64_t>(c10::elementSize(type));
    in_pieces(elements, [&](std::int64_t offset, int piece) {
      const void* from = input + offset * width;
      void* to = rank == root ? output + offset * width : nullptr;
      call("MPI_Reduce", piece * width, MPI_Reduce, MPI_Ireduce, from == to ? MPI_IN_PLACE : from,
           to, piece, mpi_type(type), mpi_operation(op, type), root);
    });
  }

  void all_gather(const torch::Tensor& output, const torch::Tensor& input,
                  const Communicator::Counts& counts) const {
    require_host_contiguous(output);
    require_host_contiguous(input);
    const auto [sizes, offsets, total] = layout(counts, row_bytes(output));
    require_rows(output, total_rows(counts), "output");
    require_rows(input, counts[rank], "input");
    if (total <= chunk) {
      call("MPI_Allgatherv", total, MPI_Allgatherv, MPI_Iallgatherv,
           static_cast<const void*>(bytes_of(input)), static_cast<int>(sizes[rank]), MPI_BYTE,
           static_cast<void*>(bytes_of(output)), keep(sizes), keep(offsets), MPI_BYTE);
      return;
    }
    std::copy_n(bytes_of(input), sizes[rank], bytes_of(output) + offsets[rank]);
    for (int root = 0; root < size; ++root) {
      broadcast_bytes(bytes_of(output) + offsets[root], sizes[root], root);
    }
  }

  void reduce_scatter(const torch::Tensor& output, const torch::Tensor& input, ReduceOp op,
                      const Communicator::Counts& counts) const {
    require_host_contiguous(output);
    require_host_contiguous(input);
    const auto type = input.scalar_type();
    const auto width = static_cast<std::int64_t>(input.element_size());
    const auto [sizes, offsets, total] = layout(counts, row_bytes(input) / width);
    require_rows(output, counts[rank], "output");
    require_rows(input, total_rows(counts), "input");
    if (total > chunk) {
      for (int root = 0; root < size; ++root) {
        reduce(bytes_of(input) + offsets[root] * width, bytes_of(output), sizes[root], type, op,
               root);
      }
      return;
    }
    call("MPI_Reduce_scatter", total * width, MPI_Reduce_scatter, MPI_Ireduce_scatter,
         static_cast<const void*>(bytes_of(input)), static_cast<void*>(bytes_of(output)),
         keep(sizes), mpi_type(type), mpi_operation(op, type));
  }

  void all_to_all(const torch::Tensor& output, const torch::Tensor& input,
                  const Communicator::Counts& output_counts,
                  const Communicator::Counts& input_counts) const {
    require_host_contiguous(output);
    require_host_contiguous(input);
    const auto in = layout(input_counts, row_bytes(input));
    const auto out = layout(output_counts, row_bytes(output));
    require_rows(output, total_rows(output_counts), "output");
    require_rows(input, total_rows(input_counts), "input");
    // Point to point: with 64-bit sizes every pair may need several messages, and ranks cannot
    // know whether another one's total needs them.
    const TraceSpan span("all_to_all");
    const WatchedCall watched("all_to_all", in.total);
    count(kCallsCounter, 1);
    count(kBytesCounter, in.total);
    note("all_to_all", in.total);
    for (int step = 0; step < size; ++step) {
      const int to = (rank + step) % size;
      const int from = (rank - step + size) % size;
      if (step == 0) {
        std::copy_n(bytes_of(input) + in.offsets[rank], in.sizes[rank],
                    bytes_of(output) + out.offsets[rank]);
        continue;
      }
      receive(bytes_of(output) + out.offsets[from], out.sizes[from], from);
      send(bytes_of(input) + in.offsets[to], in.sizes[to], to);
    }
  }

  void shift(const torch::Tensor& output, const torch::Tensor& input, int distance) const {
    require_host_contiguous(output);
    require_host_contiguous(input);
    note("shift", input.numel() * input.element_size());
    const int to = ((rank + distance) % size + size) % size;
    const int from = ((rank - distance) % size + size) % size;
    receive(bytes_of(output), output.numel() * output.element_size(), from);
    send(bytes_of(input), input.numel() * input.element_size(), to);
  }

  void send(const char* data, std::int64_t bytes, int to) const {
    in_pieces(bytes, [&](std::int64_t offset, int piece) {
      check_mpi(MPI_Isend(data + offset, piece, MPI_BYTE, to, kTag, handle,
                          &pending.requests.emplace_back(MPI_REQUEST_NULL)),
                "MPI_Isend");
    });
  }

  void receive(char* data, std::int64_t bytes, int from) const {
    in_pieces(bytes, [&](std::int64_t offset, int piece) {
      check_mpi(MPI_Irecv(data + offset, piece, MPI_BYTE, from, kTag, handle,
                          &pending.requests.emplace_back(MPI_REQUEST_NULL)),
                "MPI_Irecv");
    });
  }

 private:
  static constexpr int kTag = 17;

  struct Layout {
    std::vector<std::int64_t> sizes;
    std::vector<std::int64_t> offsets;
    std::int64_t total = 0;
  };

  Layout layout(const Communicator::Counts& counts, std::int64_t unit) const {
    require_counts(counts, size);
    Layout result;
    for (const std::int64_t rows : counts) {
      result.sizes.push_back(rows * unit);
      result.offsets.push_back(result.total);
      result.total += rows * unit;
    }
    return result;
  }

  const int* keep(const std::vector<std::int64_t>& values) const {
    return pending.counts.emplace_back(values.begin(), values.end()).data();
  }
};

}  // namespace eigenscale
