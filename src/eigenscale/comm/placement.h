#pragma once

#include <torch/torch.h>

#include <memory>
#include <string>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Where tensors live and who talks about them. A value: borrows its communicators.
class Placement {
 public:
  /// On the host, where one communicator does for both. Meant as a conversion: what takes a
  /// placement takes a communicator of the host, too.
  Placement(const Communicator& host)  // NOLINT(google-explicit-constructor)
      : device_(torch::kCPU), data_(&host), control_(&host) {}
  Placement(torch::Device device, const Communicator& data, const Communicator& control)
      : device_(device), data_(&data), control_(&control) {}

  /// Whether tensors live on a device rather than on the host.
  bool on_device() const { return data_ != control_; }
  const torch::Device& device() const { return device_; }
  /// Over tensors on the device.
  const Communicator& data() const { return *data_; }
  /// Over tensors on the host: agreement, scalars, files.
  const Communicator& control() const { return *control_; }

 private:
  torch::Device device_;
  const Communicator* data_;
  const Communicator* control_;
};

/// A GPU for each rank, and the communicator over them.
class DevicePlacement {
 public:
  /// [collective] Of the ranks of a host, each takes the device of its turn among those it sees.
  /// `library` is what tensors travel by: "nccl"; "mpi", through the host's memory; or "auto",
  /// which is NCCL unless two ranks share a device. OptionError (agreed) when a rank has no usable
  /// device, or NCCL was asked for and two share one.
  DevicePlacement(const Communicator& world, const std::string& library);

  Placement placement() const { return {device_, *data_, world_}; }
  /// On rank 0, for people: the device of every rank and what tensors travel by.
  const std::string& description() const { return description_; }
  /// Why training will be slower than it could be; empty: nothing.
  const std::string& warning() const { return warning_; }

 private:
  const Communicator& world_;
  torch::Device device_ = torch::kCPU;
  std::unique_ptr<Communicator> data_;
  std::string description_;
  std::string warning_;
};

}  // namespace eigenscale
