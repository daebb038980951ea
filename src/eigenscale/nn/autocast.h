#pragma once

#include <ATen/autocast_mode.h>

namespace eigenscale {

/// Products of convolutions and linear layers in bfloat16 while it lives; weights keep their type.
class Autocast {
 public:
  explicit Autocast(bool on) : on_(on) {
    if (on_) {
      at::autocast::set_autocast_cpu_dtype(at::kBFloat16);
      at::autocast::set_cpu_enabled(true);
    }
  }
  ~Autocast() {
    if (on_) {
      at::autocast::set_cpu_enabled(false);
      at::autocast::clear_cache();
    }
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool on_;
};

/// Products in the type of their operands while it lives, whoever has asked for bfloat16: eight
/// bits are too few for a covariance.
class FullPrecision {
 public:
  FullPrecision() : was_on_(at::autocast::is_cpu_enabled()) {
    at::autocast::set_cpu_enabled(false);
  }
  ~FullPrecision() { at::autocast::set_cpu_enabled(was_on_); }
  FullPrecision(const FullPrecision&) = delete;
  FullPrecision& operator=(const FullPrecision&) = delete;

 private:
  bool was_on_;
};

}  // namespace eigenscale
