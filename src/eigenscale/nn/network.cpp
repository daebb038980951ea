#include "eigenscale/nn/network.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/random.h"
#include "eigenscale/nn/autocast.h"
#include "eigenscale/nn/batch_normalization.h"
#include "eigenscale/nn/network_specification.h"
#include "eigenscale/nn/pca_denoising.h"
#include "eigenscale/nn/zca_whitening.h"

namespace eigenscale {
namespace {

std::shared_ptr<Normalization> make_normalization(const Communicator& communicator,
                                                  const nlohmann::json& layer) {
  NormalizationOptions options;
  options.channels = layer["inputs"];
  options.groups = layer["groups"];
  options.epsilon = layer["epsilon"];
  options.energy = layer["energy"];
  options.components = layer["components"];
  options.momentum = layer["momentum"];
  options.relative_epsilon = layer.value("relative_epsilon", false);
  // Checkpoints and models hold whole matrices.
  options.distributed_from = std::numeric_limits<std::int64_t>::max();
  const std::string rule = layer["gradient_rule"];
  if (rule != "matrix-function") {
    options.rule = GradientRuleOptions{.rule = parse_gradient_rule(rule)};
  }
  const std::string kind = layer["kind"];
  if (kind == "zca") {
    return std::make_shared<ZcaWhitening>(communicator, options);
  }
  if (kind == "pca-denoise") {
    return std::make_shared<PcaDenoising>(communicator, options);
  }
  return std::make_shared<BatchNormalization>(communicator, options);
}

/// Weight and bias of a layer, not drawn: torch's own layers draw theirs when they are made.
struct Weights : torch::nn::Module {
  Weights(torch::IntArrayRef shape, bool with_bias)
      : weight(register_parameter("weight", torch::empty(shape))) {
    if (with_bias) {
      bias = register_parameter("bias", torch::empty({shape[0]}));
    }
  }
  torch::Tensor weight;
  torch::Tensor bias;
};

}  // namespace

std::string precision_name(torch::ScalarType precision) {
  return precision == torch::kFloat64    ? "double"
         : precision == torch::kBFloat16 ? "bfloat16"
                                         : "float";
}

LayerSequence::LayerSequence(const Communicator& communicator, const nlohmann::json& layers) {
  for (const auto& layer : layers) {
    add(communicator, layer);
  }
}

void LayerSequence::add(const Communicator& communicator, const nlohmann::json& layer) {
  const std::string type = layer["type"];
  const std::string name = layer.value("name", "");
  if (type == "convolution") {
    const auto kernel = layer["kernel"].get<std::int64_t>();
    const auto stride = layer["stride"].get<std::int64_t>();
    const auto padding = layer["padding"].get<std::int64_t>();
    const std::vector<std::int64_t> shape = {layer["outputs"], layer["inputs"], kernel, kernel};
    auto own = register_module(name, std::make_shared<Weights>(shape, layer["bias"].get<bool>()));
    steps_.emplace_back([own, stride, padding](const torch::Tensor& x) {
      return torch::conv2d(x, own->weight, own->bias, stride, padding);
    });
  } else if (type == "linear") {
    const std::vector<std::int64_t> shape = {layer["outputs"], layer["inputs"]};
    auto own = register_module(name, std::make_shared<Weights>(shape, layer["bias"].get<bool>()));
    steps_.emplace_back(
        [own](const torch::Tensor& x) { return torch::linear(x, own->weight, own->bias); });
  } else if (type == "normalization") {
    auto normalization = register_module(name, make_normalization(communicator, layer));
    steps_.emplace_back(
        [normalization](const torch::Tensor& x) { return normalization->forward(x); });
  } else if (type == "relu") {
    steps_.emplace_back([](const torch::Tensor& x) { return torch::relu(x); });
  } else if (type == "max-pooling") {
    const auto kernel = layer["kernel"].get<std::int64_t>();
    const auto stride = layer["stride"].get<std::int64_t>();
    const auto padding = layer["padding"].get<std::int64_t>();
    steps_.emplace_back([kernel, stride, padding](const torch::Tensor& x) {
      return torch::max_pool2d(x, kernel, stride, padding);
    });
  } else if (type == "average-pooling") {
    steps_.emplace_back([](const torch::Tensor& x) { return x.mean({2, 3}, true); });
  } else if (type == "flatten") {
    steps_.emplace_back([](const torch::Tensor& x) { return x.flatten(1); });
  } else if (type == "residual") {
    auto body = register_module(name, std::make_shared<LayerSequence>(communicator, layer["body"]));
    std::shared_ptr<LayerSequence> shortcut;
    if (!layer["shortcut"].empty()) {
      shortcut = register_module(name + "-shortcut",
                                 std::make_shared<LayerSequence>(communicator, layer["shortcut"]));
    }
    steps_.emplace_back([body, shortcut](const torch::Tensor& x) {
      return body->forward(x) + (shortcut ? shortcut->forward(x) : x);
    });
  }
}

torch::Tensor LayerSequence::forward(torch::Tensor input) {
  for (const auto& step : steps_) {
    input = step(input);
  }
  return input;
}

Network::Network(const Communicator& communicator, nlohmann::json specification,
                 torch::ScalarType precision, std::optional<std::uint64_t> seed)
    : specification_(std::move(specification)),
      precision_(precision),
      input_shape_(specification_["input"].get<std::vector<std::int64_t>>()),
      layers_(register_module(
          "layers", std::make_shared<LayerSequence>(communicator, specification_["layers"]))) {
  if (seed) {
    initialize(*seed);
  }
  if (weight_type() == torch::kFloat64) {
    to(torch::kFloat64);
  }
}

void Network::initialize(std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const auto all = named_parameters();
  std::string last_linear;
  for (const auto& entry : all) {
    if (entry.value().dim() == 2) {
      last_linear = entry.key();
    }
  }
  for (const auto& entry : all) {
    auto parameter = entry.value();
    if (parameter.dim() < 2) {
      if (entry.key().ends_with("bias")) {
        parameter.zero_();
      }
      continue;
    }
    const auto fan_in = static_cast<double>(parameter.numel() / parameter.size(0));
    const double deviation = std::sqrt((entry.key() == last_linear ? 1 : 2) / fan_in);
    const CounterRandom random(seed, entry.key());
    auto values = torch::empty({parameter.numel()}, torch::kFloat64);
    auto* value = values.data_ptr<double>();
    for (std::int64_t i = 0; i < parameter.numel(); ++i) {
      value[i] = deviation * random.normal(static_cast<std::uint64_t>(i));
    }
    parameter.copy_(values.view(parameter.sizes()));
  }
}

torch::Tensor Network::forward(const torch::Tensor& input) {
  std::vector<std::int64_t> shape = {input.size(0)};
  shape.insert(shape.end(), input_shape_.begin(), input_shape_.end());
  const Autocast autocast(precision_ == torch::kBFloat16, input.device().type());
  auto images = input.reshape(shape);
  if (images.is_cuda() && images.dim() == 4) {
    // The order of a GPU's matrix units; layers hand it on.
    images = images.contiguous(torch::MemoryFormat::ChannelsLast);
  }
  return layers_->forward(images).to(weight_type());
}

std::int64_t Network::outputs() const { return specification_outputs(specification_); }

std::int64_t Network::parameter_count() const {
  std::int64_t count = 0;
  for (const auto& parameter : parameters()) {
    count += parameter.numel();
  }
  return count;
}

}  // namespace eigenscale
