#include "eigenscale/nn/network_specification.h"

#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/shape_text.h"
#include "eigenscale/spectral/gradient_rule.h"

namespace eigenscale {
namespace {

using Json = nlohmann::json;
using Shape = std::vector<std::int64_t>;

// The best of the shares the paper tries (Wang et al., NeurIPS 2019, on CIFAR-10).
constexpr double kDenoisingEnergy = 0.99;

constexpr std::int64_t kLargest = std::numeric_limits<std::int32_t>::max();

/// JSON as text, cut off.
std::string shortened(const Json& value) {
  constexpr std::size_t kLongest = 60;
  const auto text = value.dump();
  return text.size() <= kLongest ? text : text.substr(0, kLongest) + "...";
}

/// Walks the layers with the shape of one sample, filling in and checking.
class Completion {
 public:
  explicit Completion(std::string source) : source_(std::move(source)) {}

  void run(Json& specification) {
    if (!specification.is_object() || !specification.contains("layers")) {
      throw InputError(source_ + ": not a network: expected an object with \"layers\"");
    }
    for (const auto& [key, value] : specification.items()) {
      if (!std::set<std::string>{"input", "layers", "outputs", "multiply_adds", "scale",
                                 "precision"}
               .contains(key)) {
        throw InputError(source_ + ": unknown key \"" + key +
                         "\"; expected input, layers, scale or precision");
      }
    }
    Shape shape = input_shape(specification);
    where_ = "the model";
    if (specification.contains("scale")) {
      number(specification, "scale", 1, "a number other than 0",
             [](double value) { return value != 0; });
    }
    if (specification.contains("precision")) {
      choice(specification, "precision", "float", {"float", "double", "bfloat16"});
    }
    complete(specification["layers"], shape, "layers");
    if (shape.size() != 1) {
      throw InputError(source_ + ": the network's output has shape " + shape_text(shape) +
                       "; expected a vector, so end with flatten or linear");
    }
    if (multiply_adds_ == 0) {
      throw InputError(source_ + ": \"layers\" has no layer with weights; expected at least one " +
                       "convolution or linear");
    }
    specification["outputs"] = shape[0];
    specification["multiply_adds"] = multiply_adds_;
  }

 private:
  Shape input_shape(const Json& specification) const {
    const auto found = specification.find("input");
    const bool list = found != specification.end() && found->is_array() && !found->empty();
    for (std::size_t i = 0; list && i < found->size(); ++i) {
      if (!is_size(found->at(i), 1)) {
        throw InputError(source_ + ": \"input\" is " + found->dump() +
                         "; sizes must be whole numbers of 1 to " + std::to_string(kLargest));
      }
    }
    if (!list) {
      throw InputError(source_ + ": \"input\" must be the shape of a sample, such as [1, 28, 28]");
    }
    return found->get<Shape>();
  }

  /// A whole number from `minimum` to the largest that any size may be.
  static bool is_size(const Json& value, std::int64_t minimum) {
    return value.is_number_integer() &&
           !(value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{kLargest}) &&
           value.get<std::int64_t>() >= minimum && value.get<std::int64_t>() <= kLargest;
  }

  /// A product of sizes.
  std::int64_t product(const std::vector<std::int64_t>& factors) const {
    std::int64_t result = 1;
    for (const auto factor : factors) {
      if (__builtin_mul_overflow(result, factor, &result)) {
        fail("is larger than any memory");
      }
    }
    return result;
  }

  void count(const std::vector<std::int64_t>& factors) {
    if (__builtin_add_overflow(multiply_adds_, product(factors), &multiply_adds_)) {
      fail("makes the network larger than any memory");
    }
  }

  void complete(Json& layers, Shape& shape, const std::string& where) {
    if (!layers.is_array()) {
      throw InputError(source_ + ": " + where + " is " + shortened(layers) +
                       "; expected a list of layers");
    }
    for (std::size_t i = 0; i < layers.size(); ++i) {
      where_ = where + "[" + std::to_string(i) + "]";
      const Json& layer = layers[i];
      if (!layer.is_object() || !layer.contains("type") || !layer["type"].is_string()) {
        fail("is " + shortened(layer) +
             "; expected an object with a \"type\", such as {\"type\": \"relu\"}");
      }
    }
    for (std::size_t i = 0; i < layers.size(); ++i) {
      where_ = where + "[" + std::to_string(i) + "]";
      const bool normalized = i + 1 < layers.size() && layers[i + 1]["type"] == "normalization";
      complete_layer(layers[i], shape, normalized, where_);
    }
  }

  void complete_layer(Json& layer, Shape& shape, bool normalized, const std::string& where) {
    const std::string type = layer["type"];
    if (type == "convolution") {
      need_image(shape, type);
      name(layer, "conv");
      set_inputs(layer, shape[0]);
      const auto kernel = whole(layer, "kernel", std::nullopt, 1);
      const auto stride = whole(layer, "stride", 1, 1);
      const auto padding = whole(layer, "padding", kernel / 2, 0);
      const auto outputs = whole(layer, "outputs", std::nullopt, 1);
      truth(layer, "bias", !normalized);
      keys(layer, {"inputs", "outputs", "kernel", "stride", "padding", "bias"});
      slide(shape, kernel, stride, padding);
      count({outputs, shape[0], kernel, kernel, shape[1], shape[2]});
      shape[0] = outputs;
    } else if (type == "linear") {
      if (shape.size() != 1) {
        fail("is linear, but its input has shape " + shape_text(shape) +
             "; put a flatten before it");
      }
      name(layer, "linear");
      set_inputs(layer, shape[0]);
      const auto outputs = whole(layer, "outputs", std::nullopt, 1);
      truth(layer, "bias", true);
      keys(layer, {"inputs", "outputs", "bias"});
      count({outputs, shape[0]});
      shape[0] = outputs;
    } else if (type == "normalization") {
      complete_normalization(layer, shape);
    } else if (type == "max-pooling") {
      need_image(shape, type);
      const auto kernel = whole(layer, "kernel", std::nullopt, 1);
      const auto stride = whole(layer, "stride", kernel, 1);
      const auto padding = whole(layer, "padding", 0, 0);
      if (2 * padding > kernel) {
        fail("has padding " + std::to_string(padding) + ", more than half its kernel");
      }
      keys(layer, {"kernel", "stride", "padding"});
      slide(shape, kernel, stride, padding);
    } else if (type == "average-pooling") {
      need_image(shape, type);
      keys(layer, {});
      shape[1] = shape[2] = 1;
    } else if (type == "flatten") {
      keys(layer, {});
      shape = {product(shape)};
    } else if (type == "relu") {
      keys(layer, {});
    } else if (type == "residual") {
      name(layer, "residual");
      if (!layer.contains("shortcut")) {
        layer["shortcut"] = Json::array();
      }
      keys(layer, {"body", "shortcut"});
      Shape shortcut = shape;
      complete(layer["body"], shape, where + ".body");
      complete(layer["shortcut"], shortcut, where + ".shortcut");
      where_ = where;
      if (shape != shortcut) {
        fail("adds a body of shape " + shape_text(shape) + " to a shortcut of shape " +
             shape_text(shortcut));
      }
    } else {
      fail("has the unknown type \"" + type +
           "\"; expected convolution, linear, normalization, relu, max-pooling, average-pooling, "
           "flatten or residual");
    }
  }

  void complete_normalization(Json& layer, const Shape& shape) {
    if (shape.size() != 1 && shape.size() != 3) {
      fail("normalises an input of shape " + shape_text(shape) + "; expected a vector or an image");
    }
    name(layer, "norm");
    set_inputs(layer, shape[0]);
    const auto kind = choice(layer, "kind", "batch", {"batch", "zca", "pca-denoise"});
    const auto groups = whole(layer, "groups", 1, 1);
    const auto components = whole(layer, "components", 0, 0);
    if (kind == "batch") {
      // It has none: neurons may go one by one.
      layer["groups"] = 1;
      layer["components"] = 0;
    } else if (shape[0] % groups != 0) {
      fail("cuts " + std::to_string(shape[0]) + " channels into " + std::to_string(groups) +
           " groups; they must be of equal size");
    } else if (components > shape[0] / groups) {
      fail("has components " + std::to_string(components) + "; expected at most the " +
           std::to_string(shape[0] / groups) + " channels of a group");
    }
    const auto share = [](double value) { return value >= 0 && value <= 1; };
    number(layer, "epsilon", 1e-4, "a number of at least 0", [](double x) { return x >= 0; });
    number(layer, "energy", kind == "pca-denoise" ? kDenoisingEnergy : 1.0,
           "more than 0 and at most 1", [&](double x) { return x > 0 && share(x); });
    number(layer, "momentum", 0.1, "0 to 1", share);
    std::vector<std::string> rules = {"matrix-function"};
    for (const auto rule : {GradientRule::kTaylor, GradientRule::kPowerIteration,
                            GradientRule::kClip, GradientRule::kPade, GradientRule::kExact}) {
      rules.push_back(to_string(rule));
    }
    choice(layer, "gradient_rule", "matrix-function", rules);
    if (kind == "zca") {
      truth(layer, "relative_epsilon", false);
    }
    keys(layer, {"inputs", "kind", "groups", "epsilon", "energy", "momentum", "components",
                 "gradient_rule", kind == "zca" ? "relative_epsilon" : "kind"});
  }

  void slide(Shape& shape, std::int64_t kernel, std::int64_t stride, std::int64_t padding) {
    for (const int d : {1, 2}) {
      const auto size = shape[d] + 2 * padding - kernel;
      if (size < 0) {
        fail("has a kernel of " + std::to_string(kernel) + " on an image of " + shape_text(shape));
      }
      shape[d] = size / stride + 1;
    }
  }

  void need_image(const Shape& shape, const std::string& type) {
    if (shape.size() != 3) {
      fail("is " + type + ", but its input has shape " + shape_text(shape) +
           "; expected channels x height x width");
    }
  }

  void set_inputs(Json& layer, std::int64_t inputs) {
    if (whole(layer, "inputs", inputs, 1) != inputs) {
      fail("says inputs " + layer["inputs"].dump() + " but is given " + std::to_string(inputs));
    }
  }

  void name(Json& layer, const std::string& prefix) {
    if (!layer.contains("name")) {
      layer["name"] = prefix + std::to_string(++numbers_[prefix]);
    }
    if (!layer["name"].is_string() || layer["name"].get<std::string>().empty() ||
        layer["name"].get<std::string>().find('.') != std::string::npos) {
      fail("has a name that is not a word without dots");
    }
    if (!names_.insert(layer["name"]).second) {
      fail("has the name " + layer["name"].dump() + ", which another layer has");
    }
  }

  std::int64_t whole(Json& layer, const char* key, std::optional<std::int64_t> fallback,
                     std::int64_t minimum) {
    if (!layer.contains(key)) {
      if (!fallback) {
        fail("needs \"" + std::string(key) + "\"");
      }
      layer[key] = *fallback;
    }
    if (!is_size(layer[key], minimum)) {
      fail("has " + std::string(key) + " " + shortened(layer[key]) +
           "; expected a whole number of " + std::to_string(minimum) + " to " +
           std::to_string(kLargest));
    }
    return layer[key].get<std::int64_t>();
  }

  void number(Json& layer, const char* key, double fallback, const char* expected,
              const std::function<bool(double)>& holds) {
    if (!layer.contains(key)) {
      layer[key] = fallback;
    }
    const auto& value = layer[key];
    const bool held = value.is_number() && holds(value.get<double>());
    if (!held || !(std::abs(value.get<double>()) <= std::numeric_limits<float>::max())) {
      fail("has " + std::string(key) + " " + shortened(value) + "; expected " + expected +
           (held ? ", which single precision holds" : ""));
    }
  }

  /// One of several words.
  std::string choice(Json& layer, const char* key, const char* fallback,
                     const std::vector<std::string>& words) {
    if (!layer.contains(key)) {
      layer[key] = fallback;
    }
    std::string text;
    for (const auto& word : words) {
      if (layer[key] == word) {
        return word;
      }
      text += (text.empty() ? "" : ", ") + word;
    }
    fail("has " + std::string(key) + " " + shortened(layer[key]) + "; expected one of " + text);
  }

  void truth(Json& layer, const char* key, bool fallback) {
    if (!layer.contains(key)) {
      layer[key] = fallback;
    }
    if (!layer[key].is_boolean()) {
      fail("has " + std::string(key) + " " + layer[key].dump() + "; expected true or false");
    }
  }

  void keys(const Json& layer, const std::set<std::string>& known) {
    for (const auto& [key, value] : layer.items()) {
      if (key != "type" && key != "name" && !known.contains(key)) {
        fail("has the unknown key \"" + key + "\"");
      }
    }
  }

  [[noreturn]] void fail(const std::string& text) const {
    throw InputError(source_ + ": " + where_ + " " + text);
  }

  std::string source_;
  std::string where_;
  std::map<std::string, int> numbers_;
  std::set<std::string> names_;
  std::int64_t multiply_adds_ = 0;
};

}  // namespace

Json complete_specification(Json specification, const std::string& source) {
  Completion(source).run(specification);
  return specification;
}

Json read_specification(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) {
    throw InputError("cannot read '" + path.string() + "', a network's specification");
  }
  Json json;
  try {
    json = Json::parse(file);
  } catch (const Json::exception& error) {
    throw InputError("'" + path.string() + "' is not JSON: " + error.what());
  }
  return complete_specification(std::move(json), path.string());
}

double specification_scale(const Json& specification) { return specification.value("scale", 1.0); }

std::int64_t specification_outputs(const Json& specification) {
  return specification.at("outputs").get<std::int64_t>();
}

std::int64_t specification_flops(const Json& specification) {
  return 2 * specification.at("multiply_adds").get<std::int64_t>();
}

}  // namespace eigenscale
