#include "eigenscale/comm/mpi_communicator.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <list>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include "eigenscale/comm/memory_check.h"
#include "eigenscale/comm/mpi_collective.h"
#include "eigenscale/comm/mpi_types.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"

namespace eigenscale {
namespace {

/// What MPI may still read and write though nobody waits for it, because an exception came between:
/// kept until the process ends.
void abandon(Pending&& pending, std::vector<torch::Tensor>&& tensors) {
  struct Abandoned {
    Pending pending;
    std::vector<torch::Tensor> tensors;
  };
  static auto& all = *new std::list<Abandoned>;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  all.push_back({std::move(pending), std::move(tensors)});
}

/// Owns what one asynchronous collective needs, its tensors included.
class MpiWork final : public Work {
 public:
  explicit MpiWork(std::vector<torch::Tensor> tensors) : tensors_(std::move(tensors)) {}
  ~MpiWork() override {
    if (!std::ranges::all_of(pending_.requests,
                             [](MPI_Request request) { return request == MPI_REQUEST_NULL; })) {
      log_error("{} of {} bytes was started and never waited for", pending_.call, pending_.bytes);
      abandon(std::move(pending_), std::move(tensors_));
    }
  }
  MpiWork(const MpiWork&) = delete;
  MpiWork& operator=(const MpiWork&) = delete;

  void wait() override {
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

std::vector<MPI_Comm>& split_communicators() {
  static std::vector<MPI_Comm> communicators;
  return communicators;
}

}  // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm handle, std::int64_t chunk, Hosts hosts)
    : handle_(handle), chunk_(chunk), hosts_(hosts) {
  check_mpi(MPI_Comm_set_errhandler(handle_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(handle_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(handle_, &size_), "MPI_Comm_size");
}

std::unique_ptr<Communicator> MpiCommunicator::split(int color, int key) const {
  MPI_Comm part = MPI_COMM_NULL;
  const WatchedCall watched("MPI_Comm_split", 0);
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

/// `blocking`: by MPI's blocking calls; otherwise by others that are waited for.
template <typename Body>
void finish(const MpiCommunicator& communicator, std::int64_t chunk,
            std::vector<torch::Tensor> tensors, Body body, bool blocking = true) {
  Pending pending;
  try {
    body(Caller{communicator.handle(), communicator.rank(), communicator.size(), chunk, blocking,
                pending});
    if (!pending.requests.empty()) {
      pending.wait();
    }
  } catch (...) {
    if (!pending.requests.empty()) {
      abandon(std::move(pending), std::move(tensors));
    }
    throw;
  }
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

int MpiCommunicator::ranks_on_host() const {
  if (ranks_on_host_ == 0) {
    MPI_Comm host = MPI_COMM_NULL;
    const WatchedCall watched("MPI_Comm_split_type", 0);
    check_mpi(MPI_Comm_split_type(handle_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host),
              "MPI_Comm_split_type");
    check_mpi(MPI_Comm_size(host, &ranks_on_host_), "MPI_Comm_size");
    check_mpi(MPI_Comm_free(&host), "MPI_Comm_free");
  }
  return ranks_on_host_;
}

bool MpiCommunicator::spans_hosts() const {
  if (hosts_ == Hosts::kUnknown) {
    // Fewer ranks on a host than in all: then so it is on every host.
    hosts_ = ranks_on_host() < size_ ? Hosts::kSeveral : Hosts::kOne;
  }
  return hosts_ == Hosts::kSeveral;
}

void MpiCommunicator::all_reduce(const torch::Tensor& tensor, ReduceOp op) const {
  const bool large =
      op == ReduceOp::kSum && size_ > 1 && tensor.numel() * tensor.element_size() >= kLargeSum;
  finish(
      *this, chunk_, {tensor}, [&](const Caller& caller) { caller.all_reduce(tensor, op); },
      !(large && spans_hosts()));
}

void MpiCommunicator::all_gather(const torch::Tensor& output, const torch::Tensor& input,
                                 Counts counts) const {
  finish(*this, chunk_, {output, input},
         [&](const Caller& caller) { caller.all_gather(output, input, counts); });
}

void MpiCommunicator::reduce_scatter(const torch::Tensor& output, const torch::Tensor& input,
                                     ReduceOp op, Counts counts) const {
  finish(*this, chunk_, {output, input},
         [&](const Caller& caller) { caller.reduce_scatter(output, input, op, counts); });
}

void MpiCommunicator::broadcast(const torch::Tensor& tensor, int root) const {
  finish(*this, chunk_, {tensor},
         [&](const Caller& caller) { broadcast_tensor(caller, tensor, root); });
}

void MpiCommunicator::reduce(const torch::Tensor& tensor, ReduceOp op, int root) const {
  finish(*this, chunk_, {tensor},
         [&](const Caller& caller) { reduce_in_place(caller, tensor, op, root); });
}

void MpiCommunicator::all_to_all(const torch::Tensor& output, const torch::Tensor& input,
                                 Counts output_counts, Counts input_counts) const {
  finish(*this, chunk_, {output, input}, [&](const Caller& caller) {
    caller.all_to_all(output, input, output_counts, input_counts);
  });
}

void MpiCommunicator::barrier() const { finish(*this, chunk_, {}, barrier_call); }

namespace {

const MpiCommunicator& as_mpi(const Communicator& communicator) {
  const auto* mpi = dynamic_cast<const MpiCommunicator*>(&communicator);
  if (mpi == nullptr) {
    throw std::invalid_argument("this communicator is not MPI's");
  }
  return *mpi;
}

}  // namespace

MPI_Comm mpi_handle(const Communicator& communicator) { return as_mpi(communicator).handle(); }

int ranks_on_this_host(const Communicator& world) { return as_mpi(world).ranks_on_host(); }

namespace {

/// Returned to code that does not look, an error would go on as a wrong result or a hang.
void end_all_ranks(MPI_Comm* communicator, int* code, ...) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(*code, text.data(), &length);
  int rank = 0;
  MPI_Comm_rank(*communicator, &rank);
  std::fprintf(stderr,
               "eigenscale: rank %d of a grid: MPI failed inside BLACS or ELPA: %.*s. Ending all "
               "ranks.\n",
               rank, length, text.data());
  MPI_Abort(*communicator, static_cast<int>(ExitCode::kCommunication));
}

/// Originals and duplicates, in the order in which all ranks made them: that in which all can free
/// them, which is collective. There are few.
std::vector<std::pair<MPI_Comm, MPI_Comm>>& library_communicators() {
  static std::vector<std::pair<MPI_Comm, MPI_Comm>> communicators;
  return communicators;
}

}  // namespace

MPI_Comm library_handle(const Communicator& communicator) {
  const MPI_Comm original = mpi_handle(communicator);
  const auto known =
      std::ranges::find(library_communicators(), original, &std::pair<MPI_Comm, MPI_Comm>::first);
  if (known != library_communicators().end()) {
    return known->second;
  }
  MPI_Comm duplicate = MPI_COMM_NULL;
  const WatchedCall watched("MPI_Comm_dup", 0);
  check_mpi(MPI_Comm_dup(original, &duplicate), "MPI_Comm_dup");
  library_communicators().emplace_back(original, duplicate);
  MPI_Errhandler handler = MPI_ERRHANDLER_NULL;
  check_mpi(MPI_Comm_create_errhandler(end_all_ranks, &handler), "MPI_Comm_create_errhandler");
  check_mpi(MPI_Comm_set_errhandler(duplicate, handler), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Errhandler_free(&handler), "MPI_Errhandler_free");
  return duplicate;
}

void free_split_communicators() {
  for (auto& [original, duplicate] : library_communicators()) {
    MPI_Comm_free(&duplicate);
  }
  library_communicators().clear();
  for (MPI_Comm& communicator : split_communicators()) {
    MPI_Comm_free(&communicator);
  }
  split_communicators().clear();
}

}  // namespace eigenscale
