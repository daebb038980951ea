#include "eigenscale/nn/constant_channels.h"

#include <algorithm>
#include <limits>

namespace eigenscale {
namespace {

using Json = nlohmann::json;

torch::Tensor variable(std::int64_t channels) {
  return torch::full({channels}, std::numeric_limits<double>::quiet_NaN(), torch::kFloat64);
}

class Propagation {
 public:
  explicit Propagation(const NamedTensors& tensors) : tensors_(tensors) {}

  torch::Tensor layers(const Json& list, const std::string& path, torch::Tensor values) {
    for (const auto& layer : list) {
      values = this->layer(layer, path, values);
    }
    return values;
  }

  std::map<std::string, torch::Tensor> inputs() && { return std::move(inputs_); }

 private:
  torch::Tensor layer(const Json& layer, const std::string& parent, const torch::Tensor& values) {
    const std::string type = layer["type"];
    const auto path = parent + "." + layer.value("name", "");
    if (type == "convolution" || type == "linear") {
      return weighted(layer, path, values);
    }
    if (type == "normalization") {
      return layer["kind"] == "batch" ? normalized(layer, path, values)
                                      : variable(layer["inputs"].get<std::int64_t>());
    }
    if (type == "relu") {
      return values.clamp_min(0);
    }
    if (type == "residual") {
      const auto body = layers(layer["body"], path, values);
      const auto shortcut = layers(layer["shortcut"], path + "-shortcut", values);
      const auto width = std::max(body.size(0), shortcut.size(0));
      return widened(body, width) + widened(shortcut, width);
    }
    return values;  // pooling: of a constant image it is that constant
  }

  /// Behind a flatten every channel has become several values.
  static torch::Tensor widened(const torch::Tensor& values, std::int64_t inputs) {
    return values.repeat_interleave(inputs / values.size(0));
  }

  torch::Tensor weighted(const Json& layer, const std::string& path, const torch::Tensor& before) {
    const auto values = widened(before, layer["inputs"]);
    inputs_[path] = values;
    const auto weight = of(path + ".weight");
    const auto sums = weight.flatten(1).view({weight.size(0), weight.size(1), -1});
    const auto depends = values.isnan();
    auto known = torch::where(depends, torch::zeros_like(values), values);
    const auto zero = (sums == 0).all(2);  // outputs x inputs
    auto constant = (zero | depends.logical_not().unsqueeze(0)).all(1);
    if (layer.value("padding", 0) > 0) {
      // Beyond the border lies zero, so that a constant counts less there.
      constant = constant & (zero | (known == 0).unsqueeze(0)).all(1);
    }
    auto result = torch::mv(sums.sum(2), known);
    if (layer["bias"]) {
      result = result + of(path + ".bias");
    }
    return torch::where(constant, result, variable(weight.size(0)));
  }

  torch::Tensor normalized(const Json& layer, const std::string& path,
                           const torch::Tensor& before) {
    const auto values = widened(before, layer["inputs"]);
    const auto scale = of(path + ".weight");
    const auto deviation = (of(path + ".running_variance") + layer["epsilon"].get<double>()).sqrt();
    const auto shift = of(path + ".bias");
    return torch::where(scale == 0, shift,
                        (values - of(path + ".running_mean")) * scale / deviation + shift);
  }

  torch::Tensor of(const std::string& name) const {
    return tensors_.at(name).detach().to(torch::kFloat64);
  }

  const NamedTensors& tensors_;
  std::map<std::string, torch::Tensor> inputs_;
};

}  // namespace

std::map<std::string, torch::Tensor> constant_inputs(const Json& specification,
                                                     const NamedTensors& tensors) {
  Propagation propagation(tensors);
  propagation.layers(specification["layers"], "layers",
                     variable(specification["input"][0].get<std::int64_t>()));
  return std::move(propagation).inputs();
}

}  // namespace eigenscale
