#include "eigenscale/comm/device_transfer.h"

#include <vector>

#include "eigenscale/core/trace.h"

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

TEST(DeviceTransfer, WhatWasComputedComesBackAndIsCounted) {
  auto& device = test::device_double();
  device.take_violations();
  DeviceTransfer transfer(device, torch::kCPU);
  const auto counted = [] {
    auto all = counters();
    return std::vector{all["transfers.to_device.there.bytes"],
                       all["transfers.to_device.there.calls"], all["transfers.to_host.back.bytes"],
                       all["transfers.to_host.back.calls"]};
  };
  const auto before = counted();
  const auto there = transfer.finish(transfer.start(torch::arange(6.0), "there")).view({2, 3});
  for (int i = 1; i < 5; ++i) {
    there.add_(1);
    const auto back = transfer.to_host(there.t(), "back");
    EXPECT_TRUE(back.is_contiguous());
    EXPECT_TRUE(back.equal(torch::arange(6.0).view({2, 3}).t() + i));
    there.add_(0);  // the memory may be changed at once
  }
  EXPECT_EQ(transfer.to_host(there.narrow(0, 0, 0), "back").size(1), 3);
  const auto after = counted();
  EXPECT_EQ(after[0] - before[0], 24);
  EXPECT_EQ(after[1] - before[1], 1);
  EXPECT_EQ(after[2] - before[2], 4 * 24);
  EXPECT_EQ(after[3] - before[3], 5);
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
