#include "eigenscale/comm/device_runtime.h"

#include <utility>

namespace eigenscale {
namespace {

/// Never destroyed: streams of a device may be in use until the process ends.
std::unique_ptr<DeviceRuntime>& instance() {
  static auto& runtime = *new std::unique_ptr<DeviceRuntime>(make_cuda_runtime());
  return runtime;
}

}  // namespace

DeviceRuntime* device_runtime() { return instance().get(); }

std::unique_ptr<DeviceRuntime> set_device_runtime(std::unique_ptr<DeviceRuntime> runtime) {
  return std::exchange(instance(), std::move(runtime));
}

}  // namespace eigenscale
