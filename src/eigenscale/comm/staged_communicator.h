#pragma once

#include <torch/torch.h>

#include <memory>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/comm/device_transfer.h"

namespace eigenscale {

/// Tensors on a device through the host's memory: copied there, sent by the communicator of the
/// host, and copied back when waited for. For ranks that share a GPU and for builds of NCCL that do
/// not reach a network. Borrows the host's communicator and what carries tensors; used by one
/// thread at a time.
class StagedCommunicator final : public Communicator {
 public:
  /// [local]
  StagedCommunicator(const Communicator& host, DeviceTransfer& transfer);

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  torch::Device device() const override { return transfer_.device(); }
  std::unique_ptr<Communicator> split(int color, int key) const override;

  std::unique_ptr<Work> start_all_reduce(torch::Tensor tensor, ReduceOp op) const override;
  std::unique_ptr<Work> start_all_gather(torch::Tensor output, torch::Tensor input,
                                         Counts counts) const override;
  std::unique_ptr<Work> start_reduce_scatter(torch::Tensor output, torch::Tensor input, ReduceOp op,
                                             Counts counts) const override;
  std::unique_ptr<Work> start_broadcast(torch::Tensor tensor, int root) const override;
  std::unique_ptr<Work> start_reduce(torch::Tensor tensor, ReduceOp op, int root) const override;
  std::unique_ptr<Work> start_all_to_all(torch::Tensor output, torch::Tensor input,
                                         Counts output_counts, Counts input_counts) const override;
  std::unique_ptr<Work> start_barrier() const override;
  std::unique_ptr<Work> start_shift(torch::Tensor output, torch::Tensor input,
                                    int distance) const override;

 private:
  StagedCommunicator(std::unique_ptr<Communicator> owned_host, DeviceTransfer& transfer);
  torch::Tensor on_host(const torch::Tensor& tensor) const;
  std::unique_ptr<Work> staged(std::unique_ptr<Work> work, torch::Tensor staged,
                               torch::Tensor output) const;

  std::unique_ptr<Communicator> owned_host_;  ///< of those that `split` made
  const Communicator& host_;
  DeviceTransfer& transfer_;
};

}  // namespace eigenscale
