#include "eigenscale/comm/device_transfer.h"

#include <chrono>
#include <string>
#include <thread>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/trace.h"

namespace eigenscale {
namespace {

void count_transfer(const char* direction, const char* site, const torch::Tensor& tensor) {
  const std::string name = std::string("transfers.") + direction + "." + site;
  count(name + ".bytes", static_cast<std::int64_t>(tensor.nbytes()));
  count(name + ".calls", 1);
}

thread_local bool carrying = false;

bool is_held(const torch::Tensor& tensor) {
  auto* runtime = device_runtime();
  return runtime != nullptr && runtime->holds(tensor);
}

/// While this is there, what crosses has been counted.
class Carrying {
 public:
  /// Nothing is counted unless something crosses.
  Carrying(bool to_device, const char* site, const torch::Tensor& tensor) {
    if (device_runtime() != nullptr && is_held(tensor) != to_device) {
      count_transfer(to_device ? "to_device" : "to_host", site, tensor);
    }
    carrying = true;
  }
  ~Carrying() { carrying = false; }
  Carrying(const Carrying&) = delete;
  Carrying& operator=(const Carrying&) = delete;
};

}  // namespace

torch::Device device_holding(const torch::Tensor& tensor) {
  return tensor.is_cpu() && is_held(tensor) ? device_runtime()->tensor_device(0) : tensor.device();
}

bool lies_on_device(const torch::Tensor& tensor) { return !tensor.is_cpu() || is_held(tensor); }

c10::Scalar number_of(const torch::Tensor& tensor, const char* site) {
  const Carrying counted(false, site, tensor);
  return tensor.item();
}

torch::Tensor on_host(const torch::Tensor& tensor, const char* site) {
  const Carrying counted(false, site, tensor);
  return tensor.to(torch::kCPU, /*non_blocking=*/false, /*copy=*/lies_on_device(tensor));
}

torch::Tensor moved_to(const torch::Tensor& tensor, torch::Device device, const char* site) {
  const Carrying counted(!device.is_cpu() || device.has_index(), site, tensor);
  return tensor.to(device);
}

void copy_into(const torch::Tensor& to, const torch::Tensor& from, const char* site) {
  const Carrying counted(lies_on_device(to), site, from);
  to.copy_(from);
}

void move_module(torch::nn::Module& module, torch::Device device, const char* site) {
  const torch::NoGradGuard no_grad;
  for (auto& tensor : module.parameters()) {
    tensor.set_data(moved_to(tensor.detach(), device, site));
  }
  for (auto& tensor : module.buffers()) {
    tensor.set_data(moved_to(tensor, device, site));
  }
}

bool is_carrying() { return carrying; }

DeviceTransfer::DeviceTransfer(DeviceRuntime& runtime, torch::Device device)
    : runtime_(runtime), device_(device), stream_(runtime.make_stream()) {}

// What is being read must stay.
DeviceTransfer::~DeviceTransfer() {
  try {
    while (!read_.empty()) {
      std::erase_if(read_, [&](const auto& entry) { return runtime_.done(entry.second.get()); });
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  } catch (const CommunicationError& error) {  // of the device: nothing is read any more
    log_error(error.what());
  }
  runtime_.free_stream(stream_);
}

std::shared_ptr<void> DeviceTransfer::event() {
  return {runtime_.make_event(),
          [runtime = &runtime_](DeviceEvent made) { runtime->free_event(made); }};
}

void DeviceTransfer::wait_for_current() {
  const auto now = event();
  runtime_.record(now.get(), runtime_.current_stream());
  runtime_.wait(stream_, now.get());
}

DeviceTransfer::Arriving DeviceTransfer::start(const torch::Tensor& host, const char* site) {
  if (device_.has_index()) {
    runtime_.use_device(device_.index());  // this may be another thread's first call
  }
  const auto contiguous = host.contiguous();
  Arriving result;
  // Only page-locked memory is copied while the host does something else.
  const auto source = device_.is_cuda() ? contiguous.pin_memory() : contiguous;
  result.tensor = torch::empty(host.sizes(), host.options().device(device_));
  // The new tensor's memory may have been another's, which the current stream is not done with.
  wait_for_current();
  if (host.numel() > 0) {
    runtime_.copy(result.tensor, source, stream_);
    runtime_.keep(result.tensor, stream_);  // it may go before it has arrived
  }
  result.arrived = event();
  runtime_.record(result.arrived.get(), stream_);
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(read_, [&](const auto& entry) { return runtime_.done(entry.second.get()); });
    read_.emplace_back(source, result.arrived);
  }
  count_transfer("to_device", site, host);
  return result;
}

torch::Tensor DeviceTransfer::finish(const Arriving& arriving) {
  runtime_.wait(runtime_.current_stream(), arriving.arrived.get());
  return arriving.tensor;
}

torch::Tensor DeviceTransfer::to_host(const torch::Tensor& tensor, const char* site) {
  if (device_.has_index()) {
    runtime_.use_device(device_.index());
  }
  const auto source = tensor.detach().contiguous();
  auto host = torch::empty(
      source.sizes(), torch::TensorOptions(source.scalar_type()).pinned_memory(device_.is_cuda()));
  if (source.numel() > 0) {
    wait_for_current();
    runtime_.copy_to_host(host, source, stream_);
    const auto arrived = event();
    runtime_.record(arrived.get(), stream_);
    while (!runtime_.done(arrived.get())) {
      std::this_thread::sleep_for(std::chrono::microseconds(5));
    }
    // What is computed next may take the memory.
    runtime_.wait(runtime_.current_stream(), arrived.get());
  }
  count_transfer("to_host", site, source);
  return host;
}

}  // namespace eigenscale
