#pragma once

#include "eigenscale/comm/nccl_communicator.h"
#include "support/device_double.h"
#include "support/mpi_test.h"

namespace eigenscale::test {

/// The double that the tests of a process share; it collects violations. Never destroyed.
inline DeviceDouble& device_double() {
  static auto& device = *new DeviceDouble({.fatal = false});
  return device;
}

/// [collective at the first call] NCCL over all ranks on it.
inline NcclCommunicator& nccl_world() {
  static auto& communicator = *new NcclCommunicator(world(), device_double(), 0);
  return communicator;
}

}  // namespace eigenscale::test
