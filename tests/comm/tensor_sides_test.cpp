#include "support/tensor_sides.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace eigenscale {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// What was reported since the last call.
std::vector<std::string> reports() {
  static auto& all = *new std::vector<std::string>;
  static const bool watched = [] {
    test::watch_sides([](const std::string& report) { all.push_back(report); });
    return true;
  }();
  return watched ? std::exchange(all, {}) : all;
}

torch::Tensor on_device() {
  return torch::ones({3, 2}, torch::TensorOptions(torch::kFloat32).device(test::double_device()));
}

TEST(TensorSides, WhatStaysOnOneSideIsFine) {
  reports();
  const auto device = on_device();
  auto more = torch::empty({3, 2}, device.options());
  more.copy_(device * 2 + device.t().mm(device).sum());
  torch::zeros_like(more)
      .index_select(0, more.argmax(1))
      .add_(more.select(0, 1).to(torch::kFloat64));
  more.add_(torch::tensor(2.0));  // a number of the host may be an operand
  const auto host = torch::ones({3, 2});
  EXPECT_EQ((host.mm(host.t()) + torch::zeros({3}, host.options())).sum().item<float>(), 18);
  EXPECT_THAT(reports(), IsEmpty());
}

TEST(TensorSides, WhatCrossesSilentlyIsCaught) {
  reports();
  const auto device = on_device();
  const auto host = torch::ones({3, 2});
  static_cast<void>(host.to(test::double_device()));
  EXPECT_THAT(reports(), ElementsAre("a silent copy: aten::to"));
  static_cast<void>(device.cpu());
  EXPECT_THAT(reports(), ElementsAre("a silent copy: aten::to"));
  static_cast<void>(device.sum().item<float>());
  EXPECT_THAT(reports(), ElementsAre("a silent wait for a number: aten::item"));
  torch::empty({3, 2}).copy_(device);
  EXPECT_THAT(reports(), ElementsAre("a silent copy: aten::copy_"));
  static_cast<void>(device.equal(device));
  EXPECT_THAT(reports(), ElementsAre("a silent wait for a number: aten::equal"));
}

TEST(TensorSides, WhatWasMadeOnTheOtherSideIsCaught) {
  reports();
  const auto device = on_device();
  static_cast<void>(device + torch::ones({2}));
  EXPECT_THAT(reports(), ElementsAre("tensors of host and device in one operation: aten::add"));
  static_cast<void>(device.index_select(0, torch::arange(2)));
  EXPECT_THAT(reports(),
              ElementsAre("tensors of host and device in one operation: aten::index_select"));
  static_cast<void>(device.index({torch::tensor({1, 2}).add_(torch::zeros({2}, torch::kInt64))}));
  EXPECT_THAT(reports(), ElementsAre("tensors of host and device in one operation: aten::index"));
  // One like another belongs to the side that it meets first.
  auto like = torch::zeros({3, 2}, device.options());
  like.add_(torch::ones({3, 2}));
  static_cast<void>(device * like);
  EXPECT_THAT(reports(), ElementsAre("tensors of host and device in one operation: aten::mul"));
}

TEST(TensorSides, WhatIsGivenToTheDeviceBelongsToIt) {
  reports();
  EXPECT_FALSE(test::take_as_double(torch::ones({3, 2})));
  EXPECT_TRUE(test::take_as_double(on_device()));
  const auto like = torch::zeros({3, 2}, on_device().options());
  EXPECT_FALSE(test::is_on_double(like));
  EXPECT_TRUE(test::take_as_double(like));
  EXPECT_TRUE(test::is_on_double(like));
  EXPECT_THAT(reports(), IsEmpty());
}

}  // namespace
}  // namespace eigenscale
