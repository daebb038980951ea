#include "eigenscale/comm/device.h"

#include <torch/torch.h>

#include "eigenscale/comm/environment.h"
#include "eigenscale/core/errors.h"

#ifdef EIGENSCALE_HAVE_NCCL
#include <cuda_runtime_api.h>
#endif

namespace eigenscale {

#ifdef EIGENSCALE_HAVE_NCCL

namespace {

std::string driver_text() {
  int driver = 0;
  if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0) {
    return "no NVIDIA driver is loaded";
  }
  return "the NVIDIA driver supports CUDA " + std::to_string(driver / 1000) + "." +
         std::to_string(driver % 1000 / 10) + ", this build is made for CUDA " +
         std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
}

std::string describe(int device) {
  cudaDeviceProp properties{};
  if (const auto code = cudaGetDeviceProperties(&properties, device); code != cudaSuccess) {
    return cudaGetErrorString(code);
  }
  return std::string(properties.name) + ", " + std::to_string(properties.totalGlobalMem >> 30) +
         " GiB, compute capability " + std::to_string(properties.major) + "." +
         std::to_string(properties.minor);
}

}  // namespace

CudaDevices cuda_devices() {
  CudaDevices result;
  int count = 0;
  const auto code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess) {
    result.problem = "no usable GPU on host " + Environment::host_name() + ": " +
                     cudaGetErrorString(code) + " (" + driver_text() + ")";
    return result;
  }
  for (int device = 0; device < count; ++device) {
    result.descriptions.push_back(describe(device));
  }
  if (count == 0) {
    result.problem = "no GPU on host " + Environment::host_name();
  }
  return result;
}

#else

CudaDevices cuda_devices() {
  return {{}, "this build has no CUDA: it was made without the CUDA toolkit or without NCCL"};
}

#endif

void require_cuda_device(const std::string& work) {
  const std::string option = "--device cuda: ";
  const auto devices = cuda_devices();
  if (!devices.problem.empty()) {
    throw OptionError(option + devices.problem);
  }
  const std::string found = "host " + Environment::host_name() + " has " +
                            std::to_string(devices.descriptions.size()) + " GPU(s), ";
  if (!torch::cuda::is_available()) {
    throw OptionError(option + found + "but libtorch " + TORCH_VERSION +
                      " of this build has no CUDA; build with one that has (CMAKE_PREFIX_PATH)");
  }
  throw OptionError(option + found + "but " + work + " runs on the CPU only in this version");
}

}  // namespace eigenscale
