#include "eigenscale/comm/staged_communicator.h"

#include <stdexcept>
#include <utility>

namespace eigenscale {
namespace {

constexpr const char* kSite = "collectives";

/// Copies what arrived on the host to where it was wanted.
class StagedWork final : public Work {
 public:
  StagedWork(DeviceTransfer& transfer, std::unique_ptr<Work> work, torch::Tensor staged,
             torch::Tensor output)
      : transfer_(transfer),
        work_(std::move(work)),
        staged_(std::move(staged)),
        output_(std::move(output)) {}
  void wait() override {
    work_->wait();
    output_.detach().copy_(transfer_.finish(transfer_.start(staged_, kSite)));
  }
  bool test() override { return work_->test(); }

 private:
  DeviceTransfer& transfer_;
  std::unique_ptr<Work> work_;
  torch::Tensor staged_;
  torch::Tensor output_;
};

}  // namespace

StagedCommunicator::StagedCommunicator(const Communicator& host, DeviceTransfer& transfer)
    : host_(host), transfer_(transfer) {}

StagedCommunicator::StagedCommunicator(std::unique_ptr<Communicator> owned_host,
                                       DeviceTransfer& transfer)
    : owned_host_(std::move(owned_host)), host_(*owned_host_), transfer_(transfer) {}

std::unique_ptr<Communicator> StagedCommunicator::split(int color, int key) const {
  return std::unique_ptr<Communicator>(new StagedCommunicator(host_.split(color, key), transfer_));
}

torch::Tensor StagedCommunicator::on_host(const torch::Tensor& tensor) const {
  if (!tensor.is_contiguous()) {
    throw std::invalid_argument("collectives need contiguous tensors");
  }
  return transfer_.to_host(tensor, kSite);
}

std::unique_ptr<Work> StagedCommunicator::staged(std::unique_ptr<Work> work, torch::Tensor staged,
                                                 torch::Tensor output) const {
  return std::make_unique<StagedWork>(transfer_, std::move(work), std::move(staged),
                                      std::move(output));
}

std::unique_ptr<Work> StagedCommunicator::start_all_reduce(torch::Tensor tensor,
                                                           ReduceOp op) const {
  const auto copy = on_host(tensor);
  return staged(host_.start_all_reduce(copy, op), copy, tensor);
}

std::unique_ptr<Work> StagedCommunicator::start_all_gather(torch::Tensor output,
                                                           torch::Tensor input,
                                                           Counts counts) const {
  const auto copy = on_host(output);
  return staged(host_.start_all_gather(copy, on_host(input), std::move(counts)), copy, output);
}

std::unique_ptr<Work> StagedCommunicator::start_reduce_scatter(torch::Tensor output,
                                                               torch::Tensor input, ReduceOp op,
                                                               Counts counts) const {
  const auto copy = on_host(output);
  return staged(host_.start_reduce_scatter(copy, on_host(input), op, std::move(counts)), copy,
                output);
}

std::unique_ptr<Work> StagedCommunicator::start_broadcast(torch::Tensor tensor, int root) const {
  const auto copy = on_host(tensor);
  return staged(host_.start_broadcast(copy, root), copy, tensor);
}

std::unique_ptr<Work> StagedCommunicator::start_reduce(torch::Tensor tensor, ReduceOp op,
                                                       int root) const {
  const auto copy = on_host(tensor);
  return staged(host_.start_reduce(copy, op, root), copy, tensor);
}

std::unique_ptr<Work> StagedCommunicator::start_all_to_all(torch::Tensor output,
                                                           torch::Tensor input,
                                                           Counts output_counts,
                                                           Counts input_counts) const {
  const auto copy = on_host(output);
  return staged(host_.start_all_to_all(copy, on_host(input), std::move(output_counts),
                                       std::move(input_counts)),
                copy, output);
}

std::unique_ptr<Work> StagedCommunicator::start_barrier() const { return host_.start_barrier(); }

std::unique_ptr<Work> StagedCommunicator::start_shift(torch::Tensor output, torch::Tensor input,
                                                      int distance) const {
  const auto copy = on_host(output);
  return staged(host_.start_shift(copy, on_host(input), distance), copy, output);
}

}  // namespace eigenscale
