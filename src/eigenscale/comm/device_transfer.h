#pragma once

#include <torch/torch.h>

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "eigenscale/comm/device_runtime.h"

namespace eigenscale {

/// Brings tensors of the host to a device beside what is computed there, on a stream of its own.
/// One thread may start what another finishes.
class DeviceTransfer {
 public:
  /// A tensor on its way.
  struct Arriving {
    torch::Tensor tensor;
    std::shared_ptr<void> arrived;
  };

  /// [local] Borrows the runtime.
  DeviceTransfer(DeviceRuntime& runtime, torch::Device device);
  ~DeviceTransfer();
  DeviceTransfer(const DeviceTransfer&) = delete;
  DeviceTransfer& operator=(const DeviceTransfer&) = delete;

  /// [local] Begins; `host` must not change any more.
  Arriving start(const torch::Tensor& host);
  /// [local] The tensor, for what this thread's current stream does from now on.
  torch::Tensor finish(const Arriving& arriving);

 private:
  std::shared_ptr<void> event();

  DeviceRuntime& runtime_;
  torch::Device device_;
  DeviceStream stream_;
  /// What the device may still be reading of the host, each with the event behind it.
  std::mutex mutex_;
  std::vector<std::pair<torch::Tensor, std::shared_ptr<void>>> read_;
};

}  // namespace eigenscale
