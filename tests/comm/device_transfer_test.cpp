#include "eigenscale/comm/device_transfer.h"

#include <vector>

#include "support/nccl_world.h"

namespace eigenscale {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(DeviceTransfer, TensorsArriveInOrderAndWhole) {
  auto& device = test::device_double();
  device.take_violations();
  DeviceTransfer transfer(device, torch::kCPU);
  std::vector<DeviceTransfer::Arriving> arriving;
  for (int i = 0; i < 20; ++i) {
    arriving.push_back(
        transfer.start(torch::full({100, 3}, i, torch::kInt64).narrow(1, 0, 2), "test"));
  }
  for (int i = 0; i < 20; ++i) {
    const auto tensor = transfer.finish(arriving[i]);
    EXPECT_TRUE(tensor.equal(torch::full({100, 2}, i, torch::kInt64)));
  }
  EXPECT_EQ(transfer.finish(transfer.start(torch::zeros({0, 2}), "test")).size(1), 2);
  EXPECT_THAT(device.take_violations(), IsEmpty());
}

TEST(DeviceTransfer, ATensorThatIsReadBeforeItHasArrivedIsCaught) {
  auto& device = test::device_double();
  device.take_violations();
  DeviceTransfer transfer(device, torch::kCPU);
  const auto arriving = transfer.start(torch::ones({1000}), "test");
  arriving.tensor.sum().item<double>();
  EXPECT_THAT(device.take_violations(), Contains(HasSubstr("early read: aten::sum on memory that "
                                                           "a copy is still at")));
  transfer.finish(arriving);
}

TEST(DeviceTransfer, WhatNobodyWantsAnyMoreMayGo) {
  auto& device = test::device_double();
  device.take_violations();
  {
    DeviceTransfer transfer(device, torch::kCPU);
    transfer.start(torch::ones({1000}), "test");
  }
  EXPECT_THAT(device.take_violations(), IsEmpty());
}

}  // namespace
}  // namespace eigenscale
