#include "eigenscale/comm/placement.h"

#include <memory>
#include <utility>

#include "eigenscale/comm/device_runtime.h"
#include "eigenscale/core/errors.h"
#include "support/nccl_world.h"

namespace eigenscale {
namespace {

using test::world;
using testing::HasSubstr;

/// This host has as many GPUs as it is told, while this is there.
class Devices {
 public:
  explicit Devices(int count)
      : before_(set_device_runtime(std::make_unique<test::DeviceDouble>(
            test::DeviceDouble::Options{.devices = count, .fatal = false}))) {}
  // Communicators that the Environment frees stand on the double: it is never destroyed.
  ~Devices() { static_cast<void>(set_device_runtime(std::move(before_)).release()); }
  Devices(const Devices&) = delete;
  Devices& operator=(const Devices&) = delete;

 private:
  std::unique_ptr<DeviceRuntime> before_;
};

TEST(Placement, OnTheHostOneCommunicatorDoesForBoth) {
  const Placement placement = world();
  EXPECT_TRUE(placement.device().is_cpu());
  EXPECT_EQ(&placement.data(), &world());
  EXPECT_EQ(&placement.control(), &world());
}

TEST(Placement, EachRankOfAHostHasADeviceOfItsOwn) {
  const Devices devices(world().size());
  const DevicePlacement device(world(), "auto");
  EXPECT_EQ(device.warning(), "");
  EXPECT_NE(dynamic_cast<const NcclCommunicator*>(&device.placement().data()), nullptr);
  EXPECT_EQ(all_reduce(device.placement().data(), std::int64_t{1}), world().size());
  if (world().rank() == 0) {
    EXPECT_THAT(device.description(), HasSubstr("rank 0: GPU 0 of"));
    EXPECT_THAT(device.description(), HasSubstr("PCI 0000:00:00.0"));
    EXPECT_THAT(device.description(), HasSubstr("by NCCL"));
  }
}

TEST(Placement, RanksThatShareADeviceAreWarnedOfAndNcclIsRefused) {
  if (world().size() == 1) {
    GTEST_SKIP() << "one rank shares with nobody";
  }
  const Devices devices(1);
  const DevicePlacement device(world(), "auto");
  EXPECT_THAT(device.warning(), HasSubstr("ranks 0 and 1 share the GPU at PCI 0000:00:00.0"));
  EXPECT_EQ(all_reduce(device.placement().data(), std::int64_t{1}), world().size());
  try {
    DevicePlacement(world(), "nccl");
    FAIL() << "NCCL on a shared device";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::kOptions);
    EXPECT_TRUE(error.agreed());
    EXPECT_THAT(error.what(), HasSubstr("ranks 0 and 1 share"));
  }
}

}  // namespace
}  // namespace eigenscale
