#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

class DeviceTransfer;

/// Where tensors live and who talks about them. A value: borrows its communicators, and what
/// carries tensors between host and device.
class Placement {
 public:
  /// On the host, where one communicator does for both. Meant as a conversion: what takes a
  /// placement takes a communicator of the host, too.
  Placement(const Communicator& host)  // NOLINT(google-explicit-constructor)
      : device_(torch::kCPU), data_(&host), control_(&host) {}
  Placement(torch::Device device, const Communicator& data, const Communicator& control,
            DeviceTransfer& transfer)
      : device_(device), data_(&data), control_(&control), transfer_(&transfer) {}

  /// Whether tensors live on a device rather than on the host.
  bool on_device() const { return transfer_ != nullptr; }
  const torch::Device& device() const { return device_; }
  /// Over tensors on the device.
  const Communicator& data() const { return *data_; }
  /// Over tensors on the host: agreement, scalars, files.
  const Communicator& control() const { return *control_; }

  /// [local] A tensor of the host where tensors live, for what this thread does from now on: a copy
  /// on the device, or itself. It must not change any more. `site`, a word or two, is under what
  /// the run's summary counts what was carried.
  torch::Tensor to_device(const torch::Tensor& host, const char* site) const;
  /// [local] The way back: waits for what computes the tensor, and for the copy.
  torch::Tensor to_host(const torch::Tensor& tensor, const char* site) const;
  /// [local] How a tensor is made where tensors live.
  torch::TensorOptions options(torch::ScalarType type) const {
    return torch::TensorOptions(type).device(device_);
  }

 private:
  torch::Device device_;
  const Communicator* data_;
  const Communicator* control_;
  DeviceTransfer* transfer_ = nullptr;
};

/// A GPU for each rank, and the communicator over them.
class DevicePlacement {
 public:
  /// [collective] Of the ranks of a host, each takes the device of its turn among those it sees.
  /// `library` is what tensors travel by: "nccl"; "mpi", through the host's memory; or "auto",
  /// which is NCCL unless two ranks share a device. OptionError (agreed) when a rank has no usable
  /// device, or NCCL was asked for and two share one.
  DevicePlacement(const Communicator& world, const std::string& library);

  ~DevicePlacement();

  Placement placement() const { return {device_, *data_, world_, *transfer_}; }
  /// On rank 0, for people: the device of every rank and what tensors travel by.
  const std::string& description() const { return description_; }
  /// Why a run will be slower than it could be; empty: nothing.
  const std::string& warning() const { return warning_; }

 private:
  const Communicator& world_;
  torch::Device device_ = torch::kCPU;
  std::unique_ptr<DeviceTransfer> transfer_;
  std::unique_ptr<Communicator> data_;
  std::string description_;
  std::string warning_;
};

}  // namespace eigenscale
