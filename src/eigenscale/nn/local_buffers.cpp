#include "eigenscale/nn/local_buffers.h"

#include <algorithm>

namespace eigenscale {

namespace {

// modules() would need a module that a shared pointer owns.
void collect_local(const torch::nn::Module& module, std::vector<torch::Tensor>& local) {
  if (const auto* owner = dynamic_cast<const LocalBuffers*>(&module)) {
    const auto own = owner->local_buffers();
    local.insert(local.end(), own.begin(), own.end());
  }
  for (const auto& child : module.children()) {
    collect_local(*child, local);
  }
}

}  // namespace

std::vector<torch::Tensor> shared_buffers(const torch::nn::Module& module) {
  std::vector<torch::Tensor> local;
  collect_local(module, local);
  std::vector<torch::Tensor> result;
  for (const auto& buffer : module.buffers()) {
    if (std::ranges::none_of(local, [&](const auto& one) { return one.is_same(buffer); })) {
      result.push_back(buffer);
    }
  }
  return result;
}

}  // namespace eigenscale
