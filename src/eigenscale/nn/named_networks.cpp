#include "eigenscale/nn/named_networks.h"

#include <algorithm>
#include <charconv>

#include "eigenscale/core/errors.h"
#include "eigenscale/nn/network_specification.h"

namespace eigenscale {
namespace {

using Json = nlohmann::json;
using Widths = std::vector<std::int64_t>;

constexpr std::int64_t kSmallImage = 64;

Widths widths_of(const std::string& name, const std::string& text) {
  Widths result;
  const char* next = text.data();
  const char* const end = next + text.size();
  while (true) {
    std::int64_t width = 0;
    const auto [stop, error] = std::from_chars(next, end, width);
    if (error != std::errc() || width < 1 || (stop != end && *stop != ',')) {
      throw OptionError("--network is '" + name +
                        "'; expected widths after the colon such as 32,64");
    }
    result.push_back(width);
    if (stop == end) {
      return result;
    }
    next = stop + 1;
  }
}

class Builder {
 public:
  Builder(const std::string& name, const NamedNetworkOptions& options)
      : name_(name), options_(options), input_(options.input) {
    if (input_.size() == 2) {
      input_.insert(input_.begin(), 1);  // grey images
    }
  }

  void perceptron(const Widths& widths) {
    if (input_.size() != 1) {
      add({{"type", "flatten"}});
    }
    for (const auto width : widths) {
      linear(width);
      relu();
    }
    linear(options_.classes);
  }

  void convolutional(const Widths& channels) {
    need_image();
    auto pixels = std::min(input_[1], input_[2]);
    for (std::size_t i = 0; i < channels.size(); ++i) {
      const std::int64_t stride = i > 0 && pixels > 8 ? 2 : 1;
      pixels = (pixels + stride - 1) / stride;
      convolution(layers_, channels[i], 3, stride);
      normalize(layers_);
      relu();
    }
    classify();
  }

  void lenet() {
    need_image();
    for (const auto channels : {6, 16}) {
      add({{"type", "convolution"}, {"outputs", channels}, {"kernel", 5}, {"padding", 2}});
      if (!options_.normalization.is_null()) {
        normalize(layers_);
      }
      relu();
      add({{"type", "max-pooling"}, {"kernel", 2}});
    }
    add({{"type", "flatten"}});
    for (const auto width : {120, 84}) {
      linear(width);
      relu();
    }
    linear(options_.classes);
  }

  void residual(const Widths& blocks, bool bottleneck) {
    need_image();
    if (std::max(input_[1], input_[2]) <= kSmallImage) {
      convolution(layers_, 64, 3, 1);
      normalize(layers_);
      relu();
    } else {
      convolution(layers_, 64, 7, 2);
      normalize(layers_);
      relu();
      add({{"type", "max-pooling"}, {"kernel", 3}, {"stride", 2}, {"padding", 1}});
    }
    std::int64_t inputs = 64;
    for (std::size_t stage = 0; stage < blocks.size(); ++stage) {
      const std::int64_t width = std::int64_t{64} << stage;
      for (std::int64_t block = 0; block < blocks[stage]; ++block) {
        const std::int64_t stride = stage > 0 && block == 0 ? 2 : 1;
        inputs = residual_block(inputs, width, stride, bottleneck);
      }
    }
    classify();
  }

  Json specification() {
    return complete_specification({{"input", input_}, {"layers", layers_}}, name_);
  }

 private:
  std::int64_t residual_block(std::int64_t inputs, std::int64_t width, std::int64_t stride,
                              bool bottleneck) {
    const std::int64_t outputs = bottleneck ? 4 * width : width;
    Json body = Json::array();
    Json shortcut = Json::array();
    const auto active = [&](std::int64_t channels, std::int64_t kernel, std::int64_t step) {
      convolution(body, channels, kernel, step);
      normalize(body);
      body.push_back({{"type", "relu"}});
    };
    if (bottleneck) {
      active(width, 1, 1);
      active(width, 3, stride);
      convolution(body, outputs, 1, 1);
    } else {
      active(width, 3, stride);
      convolution(body, outputs, 3, 1);
    }
    normalize(body);
    if (stride != 1 || inputs != outputs) {
      convolution(shortcut, outputs, 1, stride);
      normalize(shortcut);
    }
    add({{"type", "residual"}, {"body", body}, {"shortcut", shortcut}});
    relu();
    return outputs;
  }

  static void convolution(Json& layers, std::int64_t channels, std::int64_t kernel,
                          std::int64_t stride) {
    layers.push_back(
        {{"type", "convolution"}, {"outputs", channels}, {"kernel", kernel}, {"stride", stride}});
  }

  void normalize(Json& layers) {
    if (options_.normalization.is_null()) {
      return;
    }
    Json layer = {{"type", "normalization"}, {"kind", "batch"}};
    if (first_) {
      layer.update(options_.normalization);
      first_ = false;
    }
    layers.push_back(layer);
  }

  void classify() {
    add({{"type", "average-pooling"}});
    add({{"type", "flatten"}});
    linear(options_.classes);
  }

  void need_image() const {
    if (input_.size() != 3) {
      throw InputError("--network " + name_ + " takes images, but the samples have " +
                       std::to_string(options_.input.size()) +
                       " dimensions; expected height x width or channels x height x width "
                       "(--image-shape)");
    }
  }

  void relu() { add({{"type", "relu"}}); }
  void linear(std::int64_t width) { add({{"type", "linear"}, {"outputs", width}}); }
  void add(Json layer) { layers_.push_back(std::move(layer)); }

  std::string name_;
  const NamedNetworkOptions& options_;
  Widths input_;
  Json layers_ = Json::array();
  bool first_ = true;
};

}  // namespace

Json named_network(const std::string& name, const NamedNetworkOptions& options) {
  const auto colon = name.find(':');
  const auto kind = name.substr(0, colon);
  const auto widths = [&](const Widths& fallback) {
    return colon == std::string::npos ? fallback : widths_of(name, name.substr(colon + 1));
  };
  Builder builder(name, options);
  if (kind == "mlp") {
    builder.perceptron(widths({512, 512}));
  } else if (kind == "cnn") {
    builder.convolutional(widths({32, 64, 128, 128}));
  } else if (name == "lenet") {
    builder.lenet();
  } else if (name == "resnet18") {
    builder.residual({2, 2, 2, 2}, false);
  } else if (name == "resnet34") {
    builder.residual({3, 4, 6, 3}, false);
  } else if (name == "resnet50") {
    builder.residual({3, 4, 6, 3}, true);
  } else {
    throw OptionError("--network is '" + name +
                      "'; expected mlp[:WIDTH,...], cnn[:CHANNELS,...], lenet, resnet18, resnet34, "
                      "resnet50 or a file SPEC.json");
  }
  return builder.specification();
}

}  // namespace eigenscale
