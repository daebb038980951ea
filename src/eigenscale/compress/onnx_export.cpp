#include "eigenscale/compress/onnx_export.h"

#include <utility>
#include <vector>

#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/version.h"
#include "eigenscale/nn/network_specification.h"

#ifdef EIGENSCALE_HAVE_ONNX
#include <onnx/onnx_pb.h>
#endif

namespace eigenscale {

SavedModel in_single_precision(const SavedModel& model) {
  SavedModel result = model;
  for (auto& [name, tensor] : result.tensors) {
    tensor = tensor.detach().to(torch::kFloat32);
  }
  return result;
}

#ifdef EIGENSCALE_HAVE_ONNX

namespace {

using Json = nlohmann::json;

constexpr int kOperatorSet = 13;
constexpr int kFormatVersion = 7;  // the one that came with it

// Runtimes map external data into memory by pages.
constexpr std::int64_t kPage = 4096;
// Of the graph without its weights: a few hundred bytes a node.
constexpr std::int64_t kGraphBytes = std::int64_t{1} << 20;

torch::Tensor single(const torch::Tensor& tensor) {
  return tensor.detach().to(torch::kFloat32).contiguous();
}

std::int64_t weight_bytes(const SavedModel& model) {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : model.tensors) {
    bytes += tensor.numel() * std::int64_t{sizeof(float)};
  }
  return bytes;
}

/// A model as a graph; its weights in the graph, or in a file `data` that it names.
class Exporter {
 public:
  explicit Exporter(const NamedTensors& tensors, std::string data = "")
      : tensors_(tensors), data_(std::move(data)) {
    model_.set_ir_version(kFormatVersion);
    model_.set_producer_name("eigenscale");
    model_.set_producer_version(version());
    model_.add_opset_import()->set_version(kOperatorSet);
    graph().set_name("eigenscale");
  }

  std::string run(const Json& specification) {
    describe(*graph().add_input(), "input",
             specification["input"].get<std::vector<std::int64_t>>());
    const auto first = scaled("input", static_cast<float>(specification_scale(specification)));
    const auto last = layers(specification["layers"], "layers", first);
    auto* node = add("Identity", {last});
    node->set_output(0, "output");
    describe(*graph().add_output(), "output", {specification["outputs"].get<std::int64_t>()});
    std::string bytes;
    if (!model_.SerializeToString(&bytes)) {
      throw OutputError("the ONNX model cannot be serialised: " +
                        std::to_string(model_.ByteSizeLong()) + " bytes");
    }
    return bytes;
  }

  /// Where in `data` each tensor of that name lies, in this order.
  const std::vector<std::pair<std::string, std::int64_t>>& places() const { return places_; }

 private:
  onnx::GraphProto& graph() { return *model_.mutable_graph(); }

  static void describe(onnx::ValueInfoProto& value, const std::string& name,
                       const std::vector<std::int64_t>& shape) {
    value.set_name(name);
    auto* type = value.mutable_type()->mutable_tensor_type();
    type->set_elem_type(onnx::TensorProto::FLOAT);
    type->mutable_shape()->add_dim()->set_dim_param("N");
    for (const auto size : shape) {
      type->mutable_shape()->add_dim()->set_dim_value(size);
    }
  }

  std::string scaled(const std::string& input, float scale) {
    if (scale == 1) {
      return input;
    }
    auto* factor = graph().add_initializer();
    factor->set_name("scale");
    factor->set_data_type(onnx::TensorProto::FLOAT);
    factor->set_raw_data(&scale, sizeof scale);
    return add("Mul", {input, "scale"})->output(0);
  }

  std::string layers(const Json& list, const std::string& path, std::string input) {
    for (const auto& layer : list) {
      input = this->layer(layer, path, input);
    }
    return input;
  }

  /// Adds the nodes of one layer; the name of what it puts out.
  std::string layer(const Json& layer, const std::string& parent, const std::string& input) {
    const std::string type = layer["type"];
    const auto path = parent + "." + layer.value("name", "");
    onnx::NodeProto* node = nullptr;
    if (type == "convolution") {
      node = add("Conv", {input, weights(path + ".weight")});
      if (layer["bias"]) {
        node->add_input(weights(path + ".bias"));
      }
      window(*node, layer);
    } else if (type == "linear") {
      node = add("Gemm", {input, weights(path + ".weight")});
      if (layer["bias"]) {
        node->add_input(weights(path + ".bias"));
      }
      whole(*node, "transB", 1);
    } else if (type == "normalization") {
      if (layer["kind"] != "batch") {
        throw InputError("ONNX has no operator for " + path.substr(path.find('.') + 1) +
                         ", a normalization of kind " + layer["kind"].get<std::string>() +
                         "; only batch normalization can be exported");
      }
      node = add("BatchNormalization",
                 {input, weights(path + ".weight"), weights(path + ".bias"),
                  weights(path + ".running_mean"), weights(path + ".running_variance")});
      auto* epsilon = attribute(*node, "epsilon", onnx::AttributeProto::FLOAT);
      epsilon->set_f(layer["epsilon"].get<float>());
    } else if (type == "relu") {
      node = add("Relu", {input});
    } else if (type == "max-pooling") {
      node = add("MaxPool", {input});
      window(*node, layer);
    } else if (type == "average-pooling") {
      node = add("GlobalAveragePool", {input});
    } else if (type == "flatten") {
      node = add("Flatten", {input});
    } else {  // residual
      const auto body = layers(layer["body"], path, input);
      node = add("Add", {body, layers(layer["shortcut"], path + "-shortcut", input)});
    }
    return node->output(0);
  }

  onnx::NodeProto* add(const char* type, const std::vector<std::string>& inputs) {
    auto* node = graph().add_node();
    node->set_op_type(type);
    node->set_name(std::string(type) + std::to_string(graph().node_size()));
    for (const auto& input : inputs) {
      node->add_input(input);
    }
    node->add_output(node->name() + "-output");
    return node;
  }

  std::string weights(const std::string& name) {
    const auto& tensor = tensors_.at(name);
    auto* initializer = graph().add_initializer();
    initializer->set_name(name);
    initializer->set_data_type(onnx::TensorProto::FLOAT);
    for (const auto size : tensor.sizes()) {
      initializer->add_dims(size);
    }
    if (data_.empty()) {
      const auto values = single(tensor);
      initializer->set_raw_data(values.data_ptr(), values.nbytes());
      return name;
    }
    const auto bytes = tensor.numel() * std::int64_t{sizeof(float)};
    initializer->set_data_location(onnx::TensorProto::EXTERNAL);
    const auto say = [&](const char* key, const std::string& value) {
      auto* entry = initializer->add_external_data();
      entry->set_key(key);
      entry->set_value(value);
    };
    say("location", data_);
    say("offset", std::to_string(end_));
    say("length", std::to_string(bytes));
    places_.emplace_back(name, end_);
    end_ += (bytes + kPage - 1) / kPage * kPage;
    return name;
  }

  static onnx::AttributeProto* attribute(onnx::NodeProto& node, const char* name,
                                         onnx::AttributeProto::AttributeType type) {
    auto* result = node.add_attribute();
    result->set_name(name);
    result->set_type(type);
    return result;
  }

  static void whole(onnx::NodeProto& node, const char* name, std::int64_t value) {
    attribute(node, name, onnx::AttributeProto::INT)->set_i(value);
  }

  static void window(onnx::NodeProto& node, const Json& layer) {
    const auto pairs = [&](const char* name, const char* key, int count) {
      auto* result = attribute(node, name, onnx::AttributeProto::INTS);
      for (int i = 0; i < count; ++i) {
        result->add_ints(layer[key].get<std::int64_t>());
      }
    };
    pairs("kernel_shape", "kernel", 2);
    pairs("strides", "stride", 2);
    pairs("pads", "padding", 4);
  }

  const NamedTensors& tensors_;
  std::string data_;
  std::int64_t end_ = 0;
  std::vector<std::pair<std::string, std::int64_t>> places_;
  onnx::ModelProto model_;
};

}  // namespace

bool has_onnx() { return true; }

void require_onnx_operators(const SavedModel& model) {
  Exporter(model.tensors, "no weights").run(model.specification);
}

void write_onnx(const std::filesystem::path& path, const SavedModel& model,
                std::int64_t largest_file) {
  const bool inside = weight_bytes(model) + kGraphBytes <= largest_file;
  const auto beside = path.string() + ".data";
  Exporter exporter(model.tensors, inside ? "" : path.filename().string() + ".data");
  const auto graph = exporter.run(model.specification);
  if (!inside) {
    AtomicFile data(beside);
    std::int64_t written = 0;
    for (const auto& [name, begin] : exporter.places()) {
      data.write(std::string(static_cast<std::size_t>(begin - written), '\0'));
      const auto values = single(model.tensors.at(name));
      data.write(values.data_ptr(), static_cast<std::int64_t>(values.nbytes()));
      written = begin + static_cast<std::int64_t>(values.nbytes());
    }
    data.commit();
  }
  write_file(path, graph);
}

#else

bool has_onnx() { return false; }

void require_onnx_operators(const SavedModel&) {
  throw OptionError("this build does not write ONNX; libonnx-dev and a new build add it");
}

void write_onnx(const std::filesystem::path&, const SavedModel& model, std::int64_t) {
  require_onnx_operators(model);
}

#endif

}  // namespace eigenscale
