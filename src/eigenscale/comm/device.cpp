#include "eigenscale/comm/device.h"

#include "eigenscale/comm/device_runtime.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {

CudaDevices cuda_devices() {
  CudaDevices result;
  auto* runtime = device_runtime();
  if (runtime == nullptr) {
    result.problem = "this build has no CUDA: it was made without the CUDA toolkit or without NCCL";
    return result;
  }
  for (const auto& device : runtime->devices(result.problem)) {
    result.descriptions.push_back(device.name + ", PCI " + device.pci_id);
  }
  return result;
}

void require_cuda_device() {
  const std::string option = "--device cuda: ";
  const auto devices = cuda_devices();
  if (!devices.problem.empty()) {
    throw OptionError(option + devices.problem);
  }
  if (const auto problem = device_runtime()->libtorch_problem(); !problem.empty()) {
    throw OptionError(option + "host " + Environment::host_name() + " has " +
                      std::to_string(devices.descriptions.size()) + " GPU(s), but " + problem);
  }
}

}  // namespace eigenscale
