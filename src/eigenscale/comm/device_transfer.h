#pragma once

#include <torch/torch.h>

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "eigenscale/comm/device_runtime.h"

namespace eigenscale {

/// Carries tensors between the host and a device, on a stream of its own. All that crosses on
/// purpose goes through here and is counted by its site: "transfers.to_device.SITE.bytes" and
/// ".calls", and the same of to_host (core/trace.h). One thread may start what another finishes.
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

  torch::Device device() const { return device_; }

  /// [local] Begins to bring a tensor to the device; `host` must not change any more.
  Arriving start(const torch::Tensor& host, const char* site);
  /// [local] The tensor, for what this thread's current stream does from now on.
  torch::Tensor finish(const Arriving& arriving);
  /// [local] A contiguous copy on the host of what this thread's current stream has computed.
  torch::Tensor to_host(const torch::Tensor& tensor, const char* site);

 private:
  std::shared_ptr<void> event();
  /// Of the current stream as it is: what the transfers' stream waits for.
  void wait_for_current();

  DeviceRuntime& runtime_;
  torch::Device device_;
  DeviceStream stream_;
  /// What the device may still be reading of the host, each with the event behind it.
  std::mutex mutex_;
  std::vector<std::pair<torch::Tensor, std::shared_ptr<void>>> read_;
};

/// [local] Where it lies, as an argument to what makes or moves tensors.
torch::Device device_holding(const torch::Tensor& tensor);
/// [local] Whether that is a device.
bool lies_on_device(const torch::Tensor& tensor);

// What crosses where no placement is at hand: on the current stream, waited for, and counted as
// above where it crosses.

/// [local] The number in a tensor of one element.
c10::Scalar number_of(const torch::Tensor& tensor, const char* site);
/// [local] The tensor on the host; itself where it is there.
torch::Tensor on_host(const torch::Tensor& tensor, const char* site);
/// [local] The tensor on `device`; itself where it is there.
torch::Tensor moved_to(const torch::Tensor& tensor, torch::Device device, const char* site);
/// [local] The values of `from` into those of `to`, of one shape, wherever either lies.
void copy_into(const torch::Tensor& to, const torch::Tensor& from, const char* site);
/// [local] All parameters and buffers of a module, in place.
void move_module(torch::nn::Module& module, torch::Device device, const char* site);
/// [local] Whether this thread is within one of these: what a test that looks for others lets pass.
bool is_carrying();

}  // namespace eigenscale
