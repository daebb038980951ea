#include "eigenscale/nn/autocast.h"

#include <ATen/autocast_mode.h>
#include <torch/version.h>

namespace eigenscale {
namespace {

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
bool is_on(c10::DeviceType device) { return at::autocast::is_autocast_enabled(device); }
void switch_to(bool on, c10::DeviceType device) { at::autocast::set_autocast_enabled(device, on); }
void set_type(at::ScalarType type, c10::DeviceType device) {
  at::autocast::set_autocast_dtype(device, type);
}
#else
bool is_on(c10::DeviceType device) {
  return device == c10::kCUDA ? at::autocast::is_enabled() : at::autocast::is_cpu_enabled();
}
void switch_to(bool on, c10::DeviceType device) {
  device == c10::kCUDA ? at::autocast::set_enabled(on) : at::autocast::set_cpu_enabled(on);
}
void set_type(at::ScalarType type, c10::DeviceType device) {
  device == c10::kCUDA ? at::autocast::set_autocast_gpu_dtype(type)
                       : at::autocast::set_autocast_cpu_dtype(type);
}
#endif

}  // namespace

Autocast::Autocast(bool on, c10::DeviceType device) : on_(on), device_(device) {
  if (on_) {
    set_type(at::kBFloat16, device_);
    switch_to(true, device_);
  }
}

Autocast::~Autocast() {
  if (on_) {
    switch_to(false, device_);
    at::autocast::clear_cache();
  }
}

FullPrecision::FullPrecision(c10::DeviceType device) : device_(device), was_on_(is_on(device)) {
  switch_to(false, device_);
}

FullPrecision::~FullPrecision() { switch_to(was_on_, device_); }

}  // namespace eigenscale
