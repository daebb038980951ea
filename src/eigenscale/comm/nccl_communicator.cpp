#include "eigenscale/comm/nccl_communicator.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/nccl_queue.h"
#include "eigenscale/comm/ragged_rows.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

/// [collective] Made by rank 0, sent over the host.
NcclId common_id(const Communicator& host, DeviceRuntime& runtime) {
  NcclId id{};
  on_first_rank(host, [&] { id = runtime.make_id(); });
  auto bytes = torch::empty({static_cast<std::int64_t>(id.size())}, torch::kUInt8);
  std::memcpy(bytes.data_ptr(), id.data(), id.size());
  host.broadcast(bytes, 0);
  std::memcpy(id.data(), bytes.data_ptr(), id.size());
  return id;
}

void require_reducible(torch::ScalarType type) {
  constexpr std::array kTypes = {torch::kUInt8, torch::kInt8,    torch::kInt32,   torch::kInt64,
                                 torch::kHalf,  torch::kFloat32, torch::kFloat64, torch::kBFloat16};
  if (std::ranges::find(kTypes, type) == kTypes.end()) {
    throw std::invalid_argument(std::string("NCCL does not reduce elements of type ") +
                                torch::toString(type));
  }
}

void require_one_type(const torch::Tensor& output, const torch::Tensor& input) {
  if (output.scalar_type() != input.scalar_type()) {
    throw std::invalid_argument(std::string("a collective of NCCL has input of type ") +
                                torch::toString(input.scalar_type()) + " and output of type " +
                                torch::toString(output.scalar_type()));
  }
}

std::int64_t size_of(const torch::Tensor& tensor) {
  return static_cast<std::int64_t>(tensor.nbytes());
}

/// The rows of one rank, where `counts` says how many each has.
std::vector<torch::Tensor> parts_of(const torch::Tensor& tensor,
                                    const Communicator::Counts& counts) {
  std::vector<torch::Tensor> parts;
  std::int64_t first = 0;
  for (const auto rows : counts) {
    parts.push_back(tensor.narrow(0, first, rows));
    first += rows;
  }
  return parts;
}

bool all_equal(const Communicator::Counts& counts) {
  return std::ranges::adjacent_find(counts, std::ranges::not_equal_to()) == counts.end();
}

/// Holds up the host: what a barrier is for.
class HostWork final : public Work {
 public:
  explicit HostWork(std::unique_ptr<Work> work) : work_(std::move(work)) {}
  void wait() override {
    const WatchedCall watched("a barrier of NCCL", 0);
    while (!work_->test()) {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
    work_->wait();
  }
  bool test() override { return work_->test(); }

 private:
  std::unique_ptr<Work> work_;
};

}  // namespace

NcclCommunicator::NcclCommunicator(const Communicator& host, DeviceRuntime& runtime, int device)
    : host_(host),
      device_(device),
      queue_(std::make_shared<Queue>(runtime, host.rank(), host.size())) {
  runtime.use_device(device);
  queue_->meet(common_id(host, runtime));
  Environment::at_finalize([queue = queue_] { queue->end(); });
}

NcclCommunicator::NcclCommunicator(std::unique_ptr<Communicator> owned_host, DeviceRuntime& runtime,
                                   int device)
    : NcclCommunicator(*owned_host, runtime, device) {
  owned_host_ = std::move(owned_host);
}

NcclCommunicator::~NcclCommunicator() = default;

int NcclCommunicator::rank() const { return queue_->rank(); }
int NcclCommunicator::size() const { return queue_->size(); }
torch::Device NcclCommunicator::device() const { return queue_->runtime().tensor_device(device_); }

std::unique_ptr<Communicator> NcclCommunicator::split(int color, int key) const {
  return std::unique_ptr<Communicator>(
      new NcclCommunicator(host_.split(color, key), queue_->runtime(), device_));
}

void NcclCommunicator::require_usable(const torch::Tensor& tensor) const {
  // A tensor on a GPU says which; those of a double of a device need not.
  const bool here = tensor.device().type() == device().type() &&
                    (!tensor.device().has_index() || tensor.device() == device());
  if (!tensor.is_contiguous() || !here) {
    throw std::invalid_argument("collectives of NCCL need contiguous tensors on " + device().str());
  }
}

std::unique_ptr<Work> NcclCommunicator::start_all_reduce(torch::Tensor tensor, ReduceOp op) const {
  require_usable(tensor);
  require_reducible(tensor.scalar_type());
  return queue_->start("ncclAllReduce", size_of(tensor), {tensor}, [&] {
    if (tensor.numel() > 0) {
      queue_->runtime().all_reduce(queue_->handle(), tensor, op, queue_->stream());
    }
  });
}

std::unique_ptr<Work> NcclCommunicator::start_all_gather(torch::Tensor output, torch::Tensor input,
                                                         Counts counts) const {
  require_usable(output);
  require_usable(input);
  require_one_type(output, input);
  require_counts(counts, size());
  require_rows(output, total_rows(counts), "output");
  require_rows(input, counts[rank()], "input");
  const auto own = input.narrow(0, 0, counts[rank()]);
  const auto parts = parts_of(output, counts);
  return queue_->start("ncclAllGather", size_of(output), {output, input}, [&] {
    auto& runtime = queue_->runtime();
    if (all_equal(counts)) {
      if (own.numel() > 0) {
        runtime.all_gather(queue_->handle(), output.narrow(0, 0, total_rows(counts)), own,
                           queue_->stream());
      }
      return;
    }
    // NCCL gathers equal parts only.
    for (int other = 0; other < size(); ++other) {
      exchange(parts[other], other, own, other);
    }
  });
}

std::unique_ptr<Work> NcclCommunicator::start_reduce_scatter(torch::Tensor output,
                                                             torch::Tensor input, ReduceOp op,
                                                             Counts counts) const {
  require_usable(output);
  require_usable(input);
  require_one_type(output, input);
  require_reducible(input.scalar_type());
  require_counts(counts, size());
  require_rows(output, counts[rank()], "output");
  require_rows(input, total_rows(counts), "input");
  const auto own = output.narrow(0, 0, counts[rank()]);
  const auto parts = parts_of(input, counts);
  return queue_->start("ncclReduceScatter", size_of(input), {output, input}, [&] {
    auto& runtime = queue_->runtime();
    if (all_equal(counts)) {
      if (own.numel() > 0) {
        runtime.reduce_scatter(queue_->handle(), own, input.narrow(0, 0, total_rows(counts)), op,
                               queue_->stream());
      }
      return;
    }
    for (int root = 0; root < size(); ++root) {
      if (parts[root].numel() > 0) {
        runtime.reduce(queue_->handle(), root == rank() ? own : parts[root], parts[root], op, root,
                       queue_->stream());
      }
    }
  });
}

std::unique_ptr<Work> NcclCommunicator::start_broadcast(torch::Tensor tensor, int root) const {
  require_usable(tensor);
  return queue_->start("ncclBroadcast", size_of(tensor), {tensor}, [&] {
    if (tensor.numel() > 0) {
      queue_->runtime().broadcast(queue_->handle(), tensor, root, queue_->stream());
    }
  });
}

std::unique_ptr<Work> NcclCommunicator::start_reduce(torch::Tensor tensor, ReduceOp op,
                                                     int root) const {
  require_usable(tensor);
  require_reducible(tensor.scalar_type());
  return queue_->start("ncclReduce", size_of(tensor), {tensor}, [&] {
    if (tensor.numel() > 0) {
      queue_->runtime().reduce(queue_->handle(), tensor, tensor, op, root, queue_->stream());
    }
  });
}

std::unique_ptr<Work> NcclCommunicator::start_all_to_all(torch::Tensor output, torch::Tensor input,
                                                         Counts output_counts,
                                                         Counts input_counts) const {
  require_usable(output);
  require_usable(input);
  require_one_type(output, input);
  require_counts(output_counts, size());
  require_counts(input_counts, size());
  require_rows(output, total_rows(output_counts), "output");
  require_rows(input, total_rows(input_counts), "input");
  const auto from = parts_of(output, output_counts);
  const auto to = parts_of(input, input_counts);
  return queue_->start("all_to_all by NCCL", size_of(input), {output, input}, [&] {
    for (int other = 0; other < size(); ++other) {
      exchange(from[other], other, to[other], other);
    }
  });
}

std::unique_ptr<Work> NcclCommunicator::start_barrier() const {
  const auto token = torch::ones({1}, torch::TensorOptions(torch::kInt32).device(device()));
  return std::make_unique<HostWork>(start_all_reduce(token, ReduceOp::kSum));
}

std::unique_ptr<Work> NcclCommunicator::start_shift(torch::Tensor output, torch::Tensor input,
                                                    int distance) const {
  require_usable(output);
  require_usable(input);
  const int to = ((rank() + distance) % size() + size()) % size();
  const int from = ((rank() - distance) % size() + size()) % size();
  return queue_->start("shift by NCCL", size_of(input), {output, input},
                       [&] { exchange(output, from, input, to); });
}

/// Within a group. Both sides know what is empty and leave it out.
void NcclCommunicator::exchange(const torch::Tensor& received, int from, const torch::Tensor& sent,
                                int to) const {
  auto& runtime = queue_->runtime();
  if (sent.numel() > 0) {
    runtime.send(queue_->handle(), sent, to, queue_->stream());
  }
  if (received.numel() > 0) {
    runtime.receive(queue_->handle(), received, from, queue_->stream());
  }
}

}  // namespace eigenscale
