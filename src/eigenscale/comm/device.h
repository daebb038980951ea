#pragma once

#include <string>
#include <vector>

namespace eigenscale {

/// The GPUs of this host as the CUDA runtime sees them.
struct CudaDevices {
  std::vector<std::string> descriptions;  ///< such as "NVIDIA H100, 79 GiB, compute capability 9.0"
  std::string problem;                    ///< why there are none; empty when there is one
};

/// [local] Never throws for want of a driver or a GPU: that is a `problem`.
CudaDevices cuda_devices();

/// [local] For `--device cuda`: throws OptionError saying what is missing for `work` ("training")
/// to run on a GPU of this host: a build with CUDA, a driver, a device, a libtorch with CUDA, or
/// the work's own code. In this version something always is.
[[noreturn]] void require_cuda_device(const std::string& work);

}  // namespace eigenscale
