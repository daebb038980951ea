#include "eigenscale/train/learning_rate.h"

#include <gtest/gtest.h>

#include <cmath>

namespace eigenscale {
namespace {

using Kind = LearningRateSchedule::Kind;
constexpr std::int64_t kStepsOfEpoch = 10;  // an epoch

TEST(LearningRateTest, ConstantIsConstant) {
  const LearningRateSchedule schedule{.kind = Kind::kConstant, .base = 0.3};
  EXPECT_EQ(schedule(0, kStepsOfEpoch), 0.3);
  EXPECT_EQ(schedule(12345, kStepsOfEpoch), 0.3);
}

TEST(LearningRateTest, WarmUpIsLinearAndEndsAtTheBase) {
  const LearningRateSchedule schedule{.kind = Kind::kConstant, .base = 0.4, .warmup_epochs = 2};
  EXPECT_DOUBLE_EQ(schedule(0, kStepsOfEpoch), 0.02);
  EXPECT_DOUBLE_EQ(schedule(1, kStepsOfEpoch), 0.04);
  EXPECT_DOUBLE_EQ(schedule(10, kStepsOfEpoch), 0.22);
  EXPECT_DOUBLE_EQ(schedule(19, kStepsOfEpoch), 0.4);
  EXPECT_DOUBLE_EQ(schedule(20, kStepsOfEpoch), 0.4);
  // Half an epoch is five steps.
  const LearningRateSchedule half{.kind = Kind::kConstant, .base = 1, .warmup_epochs = 0.5};
  EXPECT_DOUBLE_EQ(half(3, kStepsOfEpoch), 0.8);
  EXPECT_DOUBLE_EQ(half(5, kStepsOfEpoch), 1);
}

TEST(LearningRateTest, StepsMultiplyByTheFactorAtWholeEpochs) {
  const LearningRateSchedule schedule{
      .kind = Kind::kStep, .base = 1, .step_epochs = 3, .factor = 0.5};
  EXPECT_DOUBLE_EQ(schedule(0, kStepsOfEpoch), 1);
  EXPECT_DOUBLE_EQ(schedule(29, kStepsOfEpoch), 1);
  EXPECT_DOUBLE_EQ(schedule(30, kStepsOfEpoch), 0.5);
  EXPECT_DOUBLE_EQ(schedule(59, kStepsOfEpoch), 0.5);
  EXPECT_DOUBLE_EQ(schedule(60, kStepsOfEpoch), 0.25);
}

// cos(pi / 3) = 1/2, cos(pi / 2) = 0, cos(2 pi / 3) = -1/2.
TEST(LearningRateTest, CosineFallsFromTheBaseToZeroAfterTheWarmUp) {
  const LearningRateSchedule plain{.kind = Kind::kCosine, .base = 2, .epochs = 6};
  EXPECT_DOUBLE_EQ(plain(0, kStepsOfEpoch), 2);
  EXPECT_NEAR(plain(20, kStepsOfEpoch), 1.5, 1e-15);
  EXPECT_NEAR(plain(30, kStepsOfEpoch), 1, 1e-15);
  EXPECT_NEAR(plain(40, kStepsOfEpoch), 0.5, 1e-15);
  EXPECT_NEAR(plain(60, kStepsOfEpoch), 0, 1e-15);
  EXPECT_NEAR(plain(75, kStepsOfEpoch), 0, 1e-15);  // and stays there
  const LearningRateSchedule warm{
      .kind = Kind::kCosine, .base = 2, .warmup_epochs = 1, .epochs = 7};
  EXPECT_NEAR(warm(4, kStepsOfEpoch), 1, 1e-15);
  EXPECT_NEAR(warm(10, kStepsOfEpoch), 2, 1e-15);
  EXPECT_NEAR(warm(30, kStepsOfEpoch), 1.5, 1e-15);
  EXPECT_NEAR(warm(70, kStepsOfEpoch), 0, 1e-15);
}

}  // namespace
}  // namespace eigenscale
