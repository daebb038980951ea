#include "eigenscale/comm/device.h"

#include "eigenscale/comm/device_runtime.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/core/errors.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Device, ListsDevicesOrSaysWhyThereAreNone) {
  const auto devices = cuda_devices();
  EXPECT_EQ(devices.descriptions.empty(), !devices.problem.empty());
}

TEST(Device, CudaIsRefusedWithWhatIsMissing) {
  const auto devices = cuda_devices();
  std::string message;
  try {
    require_cuda_device();
  } catch (const OptionError& error) {
    message = error.what();
  }
  EXPECT_EQ(make_cuda_runtime() != nullptr, EIGENSCALE_HAS_NCCL == 1);
  if (device_runtime() == nullptr) {
    EXPECT_THAT(message, AllOf(HasSubstr("--device cuda: this build has no CUDA"),
                               HasSubstr("without NCCL")));
  } else if (devices.descriptions.empty()) {
    EXPECT_THAT(message, AllOf(HasSubstr("--device cuda: no "), HasSubstr("GPU"),
                               HasSubstr("host " + Environment::host_name())));
  } else if (!torch::cuda::is_available()) {
    EXPECT_THAT(message, AllOf(HasSubstr("GPU(s), but libtorch"),
                               HasSubstr("host " + Environment::host_name())));
  } else {
    EXPECT_EQ(message, "");
  }
}

}  // namespace
}  // namespace eigenscale
