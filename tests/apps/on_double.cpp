// A program with the double of a device in the place of a GPU, for tests: the program's own source,
// and this object more, which says what the device is.
#include <cstdlib>
#include <memory>

#include "support/device_double.h"

namespace {

/// Before main: whoever asks for the device finds it.
const bool replaced = [] {
  eigenscale::test::DeviceDouble::Options options;
  if (const char* devices = std::getenv("EIGENSCALE_DOUBLE_DEVICES"); devices != nullptr) {
    options.devices = std::atoi(devices);
  }
  options.sides = std::getenv("EIGENSCALE_DOUBLE_SIDES") != nullptr;
  eigenscale::set_device_runtime(std::make_unique<eigenscale::test::DeviceDouble>(options));
  return true;
}();

}  // namespace
