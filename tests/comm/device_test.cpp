#include "eigenscale/comm/device.h"

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
    require_cuda_device("training");
  } catch (const OptionError& error) {
    message = error.what();
  }
#ifdef EIGENSCALE_HAVE_NCCL
  EXPECT_THAT(message, HasSubstr("host " + Environment::host_name()));
  if (devices.descriptions.empty()) {
    EXPECT_THAT(message, AllOf(HasSubstr("--device cuda: no "), HasSubstr("GPU")));
  } else if (!torch::cuda::is_available()) {
    EXPECT_THAT(message, HasSubstr("libtorch"));
  } else {
    EXPECT_THAT(message, HasSubstr("training runs on the CPU only"));
  }
#else
  EXPECT_THAT(message,
              AllOf(HasSubstr("--device cuda: this build has no CUDA"), HasSubstr("without NCCL")));
#endif
}

}  // namespace
}  // namespace eigenscale
