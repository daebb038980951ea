#include "eigenscale/comm/placement.h"

#include <algorithm>
#include <map>
#include <vector>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/device.h"
#include "eigenscale/comm/device_runtime.h"
#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/gather_texts.h"
#include "eigenscale/comm/nccl_communicator.h"
#include "eigenscale/comm/staged_communicator.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/format.h"

namespace eigenscale {
namespace {

/// [collective] How many ranks before this one are on its host.
int turn_on_host(const Communicator& world) {
  const auto names = gather_texts(world, Environment::host_name());
  auto turns = torch::zeros({world.size()}, torch::kInt64);
  std::map<std::string, std::int64_t> seen;
  for (std::size_t rank = 0; rank < names.size(); ++rank) {
    turns[static_cast<std::int64_t>(rank)] = seen[names[rank]]++;
  }
  world.broadcast(turns, 0);
  return turns[world.rank()].item<int>();
}

/// [collective] The two ranks that come first of those with the same device, or "".
std::string ranks_that_share(const Communicator& world, const std::string& device) {
  const auto devices = gather_texts(world, device);
  std::string found;
  std::map<std::string, std::size_t> first;
  for (std::size_t rank = 0; rank < devices.size() && found.empty(); ++rank) {
    const auto [other, is_first] = first.emplace(devices[rank], rank);
    if (!is_first) {
      found = format_text("ranks {} and {} share {}", other->second, rank, devices[rank]);
    }
  }
  return broadcast(world, found, 0);
}

/// Repeated runs give the same bits, and float is no less unless that is asked for.
void set_exact_arithmetic() {
  auto& context = at::globalContext();
  context.setDeterministicCuDNN(true);
  context.setBenchmarkCuDNN(false);
  context.setAllowTF32CuDNN(false);
  context.setAllowTF32CuBLAS(false);
}

}  // namespace

torch::Tensor Placement::to_device(const torch::Tensor& host, const char* site) const {
  return on_device() ? transfer_->finish(transfer_->start(host, site)) : host;
}

torch::Tensor Placement::to_host(const torch::Tensor& tensor, const char* site) const {
  return on_device() ? transfer_->to_host(tensor, site) : tensor;
}

DevicePlacement::~DevicePlacement() = default;

DevicePlacement::DevicePlacement(const Communicator& world, const std::string& library)
    : world_(world) {
  on_all_ranks(world, require_cuda_device, ExitCode::kOptions);
  auto& runtime = *device_runtime();
  std::string problem;
  const auto devices = runtime.devices(problem);
  const int index = turn_on_host(world) % static_cast<int>(devices.size());
  device_ = runtime.tensor_device(index);
  const auto& own = devices[index];
  const std::string name = format_text("GPU {} of {} ({}, PCI {})", index, Environment::host_name(),
                                       own.name, own.pci_id);
  const std::string unique = "the GPU at PCI " + own.pci_id + " of " + Environment::host_name();
  const auto shared = ranks_that_share(world, unique);
  if (!shared.empty() && library == "nccl") {
    throw Error(ExitCode::kOptions,
                "--communicator nccl: " + shared +
                    ", which NCCL cannot do; start one rank per GPU, or take --communicator mpi",
                /*agreed=*/true);
  }
  const bool by_nccl = library != "mpi" && shared.empty();
  runtime.use_device(index);
  set_exact_arithmetic();
  transfer_ = std::make_unique<DeviceTransfer>(runtime, device_);
  if (by_nccl) {
    data_ = std::make_unique<NcclCommunicator>(world, runtime, index);
  } else {
    data_ = std::make_unique<StagedCommunicator>(world, *transfer_);
  }
  if (!shared.empty()) {
    warning_ = shared + ": they take turns on it, and tensors travel through the host's memory";
  }
  const auto names = gather_texts(world, name);
  for (std::size_t rank = 0; rank < names.size(); ++rank) {
    description_ += format_text("rank {}: {}\n", rank, names[rank]);
  }
  description_ += by_nccl ? "tensors travel by NCCL " + runtime.nccl_version()
                          : "tensors travel by MPI through the host's memory";
}

}  // namespace eigenscale
