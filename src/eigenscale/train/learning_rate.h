#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>

namespace eigenscale {

/// How the learning rate moves over a run; all lengths in epochs, the rate changes every step.
struct LearningRateSchedule {
  enum class Kind { kConstant, kStep, kCosine };
  Kind kind = Kind::kConstant;
  double base = 0.1;
  /// Linear from base / (steps of the warm-up) to base before anything else.
  double warmup_epochs = 0;
  /// kStep: multiplied by `factor` after every `step_epochs`.
  double step_epochs = 30;
  double factor = 0.1;
  /// kCosine: to zero at the end of so many epochs (Loshchilov and Hutter, ICLR 2017).
  double epochs = 1;

  /// [local] The rate of step `step`, from 0.
  double operator()(std::int64_t step, std::int64_t steps_per_epoch) const {
    const double epoch = static_cast<double>(step) / static_cast<double>(steps_per_epoch);
    if (epoch < warmup_epochs) {
      const double warmup_steps = warmup_epochs * static_cast<double>(steps_per_epoch);
      return base * std::min(1.0, static_cast<double>(step + 1) / warmup_steps);
    }
    if (kind == Kind::kStep) {
      return base * std::pow(factor, std::floor(epoch / step_epochs));
    }
    if (kind == Kind::kCosine) {
      const double done = (epoch - warmup_epochs) / std::max(epochs - warmup_epochs, 1e-9);
      return base * 0.5 * (1 + std::cos(std::numbers::pi * std::min(done, 1.0)));
    }
    return base;
  }
};

}  // namespace eigenscale
