#pragma once

#include <string>
#include <vector>

namespace eigenscale {

/// The GPUs of this host as the CUDA runtime sees them.
struct CudaDevices {
  /// Such as "NVIDIA H100, 79 GiB, compute capability 9.0, PCI 0000:1b:00.0".
  std::vector<std::string> descriptions;
  std::string problem;  ///< why there are none; empty when there is one
};

/// [local] Never throws for want of a driver or a GPU: that is a `problem`.
CudaDevices cuda_devices();

/// [local] For `--device cuda`: throws OptionError saying what is missing for work on a GPU of this
/// host: a build with CUDA and NCCL, a driver, a device, or a libtorch with CUDA.
void require_cuda_device();

}  // namespace eigenscale
