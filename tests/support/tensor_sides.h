#pragma once

#include <torch/torch.h>

#include <functional>
#include <string>

namespace eigenscale::test {

/// Tells tensors of the host from those of a device whose memory is the host's, by where they come
/// from: made with the device `double_device()`, computed of such, or carried there. It says what
/// would be an error, or a silent copy, on a device with memory of its own:
///
///   a mixture       an operation on tensors of both sides, but for single numbers of the host
///   a silent copy   `to`, `copy_`, `cpu` from one side to the other
///   a silent wait   `item`, `equal` and the like of a tensor on the device
///
/// Tensors like another ("options()") belong to the side that they first meet. Not seen: accesses
/// through raw pointers, and what operations of libtorch do within.
///
/// [local] From now on `report` is told, until the process ends.
void watch_sides(std::function<void(const std::string&)> report);

/// [local] For what only a device's memory may be given to: false where it is known to be the
/// host's. From now on it is known to be a device's otherwise.
bool take_as_double(const torch::Tensor& tensor);

/// [local] Whether it is known to be a device's.
bool is_on_double(const torch::Tensor& tensor);

/// The host's device by another name.
inline torch::Device double_device() { return {torch::kCPU, 0}; }

}  // namespace eigenscale::test
