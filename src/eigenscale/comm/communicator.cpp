#include "eigenscale/comm/communicator.h"

#include <cstring>
#include <utility>

#include "eigenscale/comm/device_transfer.h"

namespace eigenscale {
namespace {

constexpr const char* kScalars = "scalars";

}  // namespace

void Communicator::all_reduce(const torch::Tensor& tensor, ReduceOp op) const {
  start_all_reduce(tensor, op)->wait();
}

void Communicator::all_gather(const torch::Tensor& output, const torch::Tensor& input,
                              Counts counts) const {
  start_all_gather(output, input, std::move(counts))->wait();
}

void Communicator::reduce_scatter(const torch::Tensor& output, const torch::Tensor& input,
                                  ReduceOp op, Counts counts) const {
  start_reduce_scatter(output, input, op, std::move(counts))->wait();
}

void Communicator::broadcast(const torch::Tensor& tensor, int root) const {
  start_broadcast(tensor, root)->wait();
}

void Communicator::reduce(const torch::Tensor& tensor, ReduceOp op, int root) const {
  start_reduce(tensor, op, root)->wait();
}

void Communicator::all_to_all(const torch::Tensor& output, const torch::Tensor& input,
                              Counts output_counts, Counts input_counts) const {
  start_all_to_all(output, input, std::move(output_counts), std::move(input_counts))->wait();
}

void Communicator::barrier() const { start_barrier()->wait(); }

void Communicator::shift(const torch::Tensor& output, const torch::Tensor& input,
                         int distance) const {
  start_shift(output, input, distance)->wait();
}

double all_reduce(const Communicator& communicator, double value, ReduceOp op) {
  const auto tensor =
      moved_to(torch::full({1}, value, torch::kFloat64), communicator.device(), kScalars);
  communicator.all_reduce(tensor, op);
  return number_of(tensor, kScalars).toDouble();
}

std::int64_t all_reduce(const Communicator& communicator, std::int64_t value, ReduceOp op) {
  const auto tensor =
      moved_to(torch::full({1}, value, torch::kInt64), communicator.device(), kScalars);
  communicator.all_reduce(tensor, op);
  return number_of(tensor, kScalars).toLong();
}

std::string broadcast(const Communicator& communicator, const std::string& text, int root) {
  const auto length =
      moved_to(torch::full({1}, static_cast<std::int64_t>(text.size()), torch::kInt64),
               communicator.device(), kScalars);
  communicator.broadcast(length, root);
  auto bytes = torch::zeros({number_of(length, kScalars).toLong()}, torch::kUInt8);
  if (communicator.rank() == root && !text.empty()) {
    std::memcpy(bytes.data_ptr(), text.data(), text.size());
  }
  bytes = moved_to(bytes, communicator.device(), kScalars);
  communicator.broadcast(bytes, root);
  bytes = on_host(bytes, kScalars);
  return {static_cast<const char*>(bytes.data_ptr()), static_cast<std::size_t>(bytes.numel())};
}

}  // namespace eigenscale
