#pragma once

#include <torch/torch.h>

#include <functional>

namespace eigenscale::test {

/// Told of a tensor that an operation of libtorch reads, or writes, or makes; not of those of which
/// it only looks at the shape.
using Observer = std::function<void(const char* operation, const torch::Tensor&, bool written)>;

/// [local] From now on `observer` is told of every operation on any thread, until the process ends.
/// Not to be called while other threads compute.
void observe_operations(Observer observer);

}  // namespace eigenscale::test
