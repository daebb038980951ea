#pragma once

#include <c10/core/DeviceType.h>

namespace eigenscale {

/// Products of convolutions and linear layers in bfloat16, on devices of this type, while it lives;
/// weights keep their type.
class Autocast {
 public:
  Autocast(bool on, c10::DeviceType device);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool on_;
  c10::DeviceType device_;
};

/// Products in the type of their operands while it lives, whoever has asked for bfloat16: eight
/// bits are too few for a covariance.
class FullPrecision {
 public:
  explicit FullPrecision(c10::DeviceType device);
  ~FullPrecision();
  FullPrecision(const FullPrecision&) = delete;
  FullPrecision& operator=(const FullPrecision&) = delete;

 private:
  c10::DeviceType device_;
  bool was_on_;
};

}  // namespace eigenscale
