#include "eigenscale/comm/mpi_communicator.h"

#include <algorithm>
#include <deque>
#include <stdexcept>
#include <utility>
#include <vector>

#include "eigenscale/comm/mpi_types.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/trace.h"

namespace eigenscale {
namespace {

/// What must outlive the calls of one collective: its requests and the count arrays MPI reads.
struct Pending {
  std::vector<MPI_Request> requests;
  std::deque<std::vector<int>> counts;

  void wait() {
    check_mpi(MPI_Waitall(narrow_to_int(std::ssize(requests), "number of requests"),
                          requests.data(), MPI_STATUSES_IGNORE),
              "MPI_Waitall");
    requests.clear();
  }
};

/// Owns what one asynchronous collective needs, its tensors included.
class MpiWork final : public Work {
 public:
  explicit MpiWork(std::vector<torch::Tensor> tensors) : tensors_(std::move(tensors)) {}
  ~MpiWork() override {
    if (!pending_.requests.empty()) {
      spdlog::error("a collective was started and never waited for");
    }
  }
  MpiWork(const MpiWork&) = delete;
  MpiWork& operator=(const MpiWork&) = delete;

  void wait() override {
    const WatchedCall watched("MPI_Waitall", 0);
    pending_.wait();
    tensors_.clear();
  }
  bool test() override {
    int done = 0;
    check_mpi(MPI_Testall(narrow_to_int(std::ssize(pending_.requests), "number of requests"),
                          pending_.requests.data(), &done, MPI_STATUSES_IGNORE),
              "MPI_Testall");
    return done != 0;
  }

  Pending& pending() { return pending_; }

 private:
  std::vector<torch::Tensor> tensors_;
  Pending pending_;
};

void require_host_contiguous(const torch::Tensor& tensor) {
  if (!tensor.is_contiguous() || !tensor.device().is_cpu()) {
    throw std::invalid_argument("MPI collectives need contiguous host tensors");
  }
}

char* bytes_of(const torch::Tensor& tensor) { return static_cast<char*>(tensor.data_ptr()); }

std::int64_t row_bytes(const torch::Tensor& tensor) {
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
    count("communication.calls", 1);
    count("communication.bytes", bytes);
    if (blocking) {
      check_mpi(blocking_call(arguments..., handle), name);
    } else {
      check_mpi(
          non_blocking_call(arguments..., handle, &pending.requests.emplace_back(MPI_REQUEST_NULL)),
          name);
    }
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
    // Point to point: with 64-bit sizes every pair may need several messages, and ranks cannot
    // know whether another one's total needs them.
    const TraceSpan span("all_to_all");
    const WatchedCall watched("all_to_all", in.total);
    count("communication.calls", 1);
    count("communication.bytes", in.total);
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
    if (std::ssize(counts) != size) {
      throw std::invalid_argument("ragged counts need one entry per rank");
    }
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

std::vector<MPI_Comm>& split_communicators() {
  static std::vector<MPI_Comm> communicators;
  return communicators;
}

}  // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm handle, std::int64_t chunk)
    : handle_(handle), chunk_(chunk) {
  check_mpi(MPI_Comm_set_errhandler(handle_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(handle_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(handle_, &size_), "MPI_Comm_size");
}

std::unique_ptr<Communicator> MpiCommunicator::split(int color, int key) const {
  MPI_Comm part = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split(handle_, color, key, &part), "MPI_Comm_split");
  split_communicators().push_back(part);
  return std::make_unique<MpiCommunicator>(part, chunk_);
}

namespace {

template <typename Body>
std::unique_ptr<Work> start(const MpiCommunicator& communicator, std::int64_t chunk,
                            std::vector<torch::Tensor> tensors, Body body) {
  auto work = std::make_unique<MpiWork>(std::move(tensors));
  body(Caller{communicator.handle(), communicator.rank(), communicator.size(), chunk, false,
              work->pending()});
  return work;
}

template <typename Body>
void finish(const MpiCommunicator& communicator, std::int64_t chunk, Body body) {
  Pending pending;
  body(Caller{communicator.handle(), communicator.rank(), communicator.size(), chunk, true,
              pending});
  const WatchedCall watched("MPI_Waitall", 0);
  pending.wait();
}

void reduce_in_place(const Caller& caller, const torch::Tensor& tensor, ReduceOp op, int root) {
  require_host_contiguous(tensor);
  caller.reduce(bytes_of(tensor), bytes_of(tensor), tensor.numel(), tensor.scalar_type(), op, root);
}

void broadcast_tensor(const Caller& caller, const torch::Tensor& tensor, int root) {
  require_host_contiguous(tensor);
  caller.broadcast_bytes(bytes_of(tensor), tensor.numel() * tensor.element_size(), root);
}

void barrier_call(const Caller& caller) {
  caller.call("MPI_Barrier", 0, MPI_Barrier, MPI_Ibarrier);
}

}  // namespace

std::unique_ptr<Work> MpiCommunicator::start_all_reduce(torch::Tensor tensor, ReduceOp op) const {
  return start(*this, chunk_, {tensor},
               [&](const Caller& caller) { caller.all_reduce(tensor, op); });
}

std::unique_ptr<Work> MpiCommunicator::start_all_gather(torch::Tensor output, torch::Tensor input,
                                                        Counts counts) const {
  return start(*this, chunk_, {output, input},
               [&](const Caller& caller) { caller.all_gather(output, input, counts); });
}

std::unique_ptr<Work> MpiCommunicator::start_reduce_scatter(torch::Tensor output,
                                                            torch::Tensor input, ReduceOp op,
                                                            Counts counts) const {
  return start(*this, chunk_, {output, input},
               [&](const Caller& caller) { caller.reduce_scatter(output, input, op, counts); });
}

std::unique_ptr<Work> MpiCommunicator::start_broadcast(torch::Tensor tensor, int root) const {
  return start(*this, chunk_, {tensor},
               [&](const Caller& caller) { broadcast_tensor(caller, tensor, root); });
}

std::unique_ptr<Work> MpiCommunicator::start_reduce(torch::Tensor tensor, ReduceOp op,
                                                    int root) const {
  return start(*this, chunk_, {tensor},
               [&](const Caller& caller) { reduce_in_place(caller, tensor, op, root); });
}

std::unique_ptr<Work> MpiCommunicator::start_all_to_all(torch::Tensor output, torch::Tensor input,
                                                        Counts output_counts,
                                                        Counts input_counts) const {
  return start(*this, chunk_, {output, input}, [&](const Caller& caller) {
    caller.all_to_all(output, input, output_counts, input_counts);
  });
}

std::unique_ptr<Work> MpiCommunicator::start_barrier() const {
  return start(*this, chunk_, {}, barrier_call);
}

std::unique_ptr<Work> MpiCommunicator::start_shift(torch::Tensor output, torch::Tensor input,
                                                   int distance) const {
  return start(*this, chunk_, {output, input},
               [&](const Caller& caller) { caller.shift(output, input, distance); });
}

void MpiCommunicator::all_reduce(const torch::Tensor& tensor, ReduceOp op) const {
  finish(*this, chunk_, [&](const Caller& caller) { caller.all_reduce(tensor, op); });
}

void MpiCommunicator::all_gather(const torch::Tensor& output, const torch::Tensor& input,
                                 Counts counts) const {
  finish(*this, chunk_, [&](const Caller& caller) { caller.all_gather(output, input, counts); });
}

void MpiCommunicator::reduce_scatter(const torch::Tensor& output, const torch::Tensor& input,
                                     ReduceOp op, Counts counts) const {
  finish(*this, chunk_,
         [&](const Caller& caller) { caller.reduce_scatter(output, input, op, counts); });
}

void MpiCommunicator::broadcast(const torch::Tensor& tensor, int root) const {
  finish(*this, chunk_, [&](const Caller& caller) { broadcast_tensor(caller, tensor, root); });
}

void MpiCommunicator::reduce(const torch::Tensor& tensor, ReduceOp op, int root) const {
  finish(*this, chunk_, [&](const Caller& caller) { reduce_in_place(caller, tensor, op, root); });
}

void MpiCommunicator::all_to_all(const torch::Tensor& output, const torch::Tensor& input,
                                 Counts output_counts, Counts input_counts) const {
  finish(*this, chunk_, [&](const Caller& caller) {
    caller.all_to_all(output, input, output_counts, input_counts);
  });
}

void MpiCommunicator::barrier() const { finish(*this, chunk_, barrier_call); }

MPI_Comm mpi_handle(const Communicator& communicator) {
  const auto* mpi = dynamic_cast<const MpiCommunicator*>(&communicator);
  if (mpi == nullptr) {
    throw std::invalid_argument("this communicator is not MPI's");
  }
  return mpi->handle();
}

void free_split_communicators() {
  for (MPI_Comm& communicator : split_communicators()) {
    MPI_Comm_free(&communicator);
  }
  split_communicators().clear();
}

}  // namespace eigenscale
