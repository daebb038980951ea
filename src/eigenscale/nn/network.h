#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Layers one behind the other, made from the list of a completed specification.
class LayerSequence : public torch::nn::Module {
 public:
  LayerSequence(const Communicator& communicator, const nlohmann::json& layers);
  torch::Tensor forward(torch::Tensor input);

 private:
  void add(const Communicator& communicator, const nlohmann::json& layer);
  std::vector<std::function<torch::Tensor(const torch::Tensor&)>> steps_;
};

/// [local] float, double or bfloat16; what Network calls its precision.
std::string precision_name(torch::ScalarType precision);

/// A network from a specification (nn/network_specification.h). Normalisation layers use the
/// statistics of all ranks of the communicator, which is borrowed: in training forward and backward
/// are collective for networks that have them. Whitening matrices are whole on every rank.
///
/// Weights start by He et al. (ICCV 2015), normal with variance 2 / fan_in (the last linear layer
/// 1 / fan_in), biases at zero, as a function of (seed, parameter name): equal on all ranks.
class Network : public torch::nn::Module {
 public:
  /// [local] `precision` is torch::kFloat32, kFloat64, or kBFloat16: float weights, products of
  /// convolutions and linear layers in bfloat16. Without a seed weights are not drawn, but to be
  /// loaded (load_parameters).
  Network(const Communicator& communicator, nlohmann::json specification,
          torch::ScalarType precision, std::optional<std::uint64_t> seed);

  /// [local or collective, see above] n x input shape (or n x its product) -> n x outputs.
  torch::Tensor forward(const torch::Tensor& input);

  const nlohmann::json& specification() const { return specification_; }
  torch::ScalarType precision() const { return precision_; }
  /// Element type of weights and inputs.
  torch::ScalarType weight_type() const {
    return precision_ == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
  }
  std::int64_t outputs() const;
  /// Numbers in all parameters together.
  std::int64_t parameter_count() const;

 private:
  void initialize(std::uint64_t seed);

  nlohmann::json specification_;
  torch::ScalarType precision_;
  std::vector<std::int64_t> input_shape_;
  std::shared_ptr<LayerSequence> layers_;
};

}  // namespace eigenscale
