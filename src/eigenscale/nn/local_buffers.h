#pragma once

#include <torch/torch.h>

#include <vector>

namespace eigenscale {

/// What a module inherits when some of its buffers differ between ranks: blocks of a distributed
/// matrix.
class LocalBuffers {
 public:
  virtual ~LocalBuffers() = default;
  /// [local]
  virtual std::vector<torch::Tensor> local_buffers() const = 0;
};

/// [local] The buffers of a module and its submodules that are the same on all ranks.
std::vector<torch::Tensor> shared_buffers(const torch::nn::Module& module);

}  // namespace eigenscale
