#include "eigenscale/comm/device_transfer.h"

#include <chrono>
#include <thread>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/trace.h"

namespace eigenscale {

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

DeviceTransfer::Arriving DeviceTransfer::start(const torch::Tensor& host) {
  if (device_.has_index()) {
    runtime_.use_device(device_.index());  // this may be another thread's first call
  }
  const auto contiguous = host.contiguous();
  Arriving result;
  // Only page-locked memory is copied while the host does something else.
  const auto source = device_.is_cuda() ? contiguous.pin_memory() : contiguous;
  result.tensor = torch::empty(host.sizes(), host.options().device(device_));
  // The new tensor's memory may have been another's, which the current stream is not done with.
  const auto free = event();
  runtime_.record(free.get(), runtime_.current_stream());
  runtime_.wait(stream_, free.get());
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
  count("device.bytes_in", static_cast<std::int64_t>(host.nbytes()));
  return result;
}

torch::Tensor DeviceTransfer::finish(const Arriving& arriving) {
  runtime_.wait(runtime_.current_stream(), arriving.arrived.get());
  return arriving.tensor;
}

}  // namespace eigenscale
