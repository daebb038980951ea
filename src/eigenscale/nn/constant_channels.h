#pragma once

#include <torch/torch.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "eigenscale/nn/safetensors.h"

namespace eigenscale {

/// [local] What each convolution and linear layer of a network in evaluation mode is given that
/// does not depend on the sample: by path, one double per input channel (of a linear layer: per
/// input), NaN where it depends. A neuron whose weights are all zero emits a constant, which
/// biases, batch normalisation and ReLU make of what it has; whitening mixes channels and ends
/// constants. `tensors` are those of the completed `specification`.
std::map<std::string, torch::Tensor> constant_inputs(const nlohmann::json& specification,
                                                     const NamedTensors& tensors);

}  // namespace eigenscale
