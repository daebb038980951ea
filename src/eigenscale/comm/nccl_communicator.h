#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/comm/device_runtime.h"

namespace eigenscale {

/// Tensors on a device over NCCL, on a stream of its own. A call enqueues and returns: it runs
/// after what the thread's current stream holds, and `Work::wait()` lets that stream go on after
/// the call without holding up the host; a barrier's wait does hold it up. The watchdog looks after
/// calls under way, errors that NCCL meets later among them, and ends the run by name of the call.
/// Reductions are over the types that NCCL has: no int16, no bool. Used by one thread at a time.
///
/// Destructors only let go: freeing a communicator of NCCL is collective, the Environment does it
/// at finalise.
class NcclCommunicator final : public Communicator {
 public:
  /// [collective] Over the ranks of `host`, each with the device of this index on its own host; two
  /// ranks cannot share one. Borrows both. A rank that never comes ends in the watchdog.
  NcclCommunicator(const Communicator& host, DeviceRuntime& runtime, int device);
  ~NcclCommunicator() override;
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  int rank() const override;
  int size() const override;
  torch::Device device() const override;
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

  class Queue;

 private:
  NcclCommunicator(std::unique_ptr<Communicator> owned_host, DeviceRuntime& runtime, int device);

  void require_usable(const torch::Tensor& tensor) const;
  void exchange(const torch::Tensor& received, int from, const torch::Tensor& sent, int to) const;

  std::unique_ptr<Communicator> owned_host_;  ///< of those that `split` made
  const Communicator& host_;
  int device_;
  std::shared_ptr<Queue> queue_;
};

}  // namespace eigenscale
