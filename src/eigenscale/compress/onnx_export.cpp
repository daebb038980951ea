#include "eigenscale/compress/onnx_export.h"

#include "eigenscale/core/errors.h"
#include "eigenscale/core/version.h"

#ifdef EIGENSCALE_HAVE_ONNX
#include <onnx/onnx_pb.h>
#endif

namespace eigenscale {

#ifdef EIGENSCALE_HAVE_ONNX

namespace {

using Json = nlohmann::json;

constexpr int kOperatorSet = 13;
constexpr int kFormatVersion = 7;  // the one that came with it

class Exporter {
 public:
  explicit Exporter(const NamedTensors& tensors) : tensors_(tensors) {
    model_.set_ir_version(kFormatVersion);
    model_.set_producer_name("eigenscale");
    model_.set_producer_version(version());
    model_.add_opset_import()->set_version(kOperatorSet);
    graph().set_name("eigenscale");
  }

  std::string run(const Json& specification) {
    describe(*graph().add_input(), "input",
             specification["input"].get<std::vector<std::int64_t>>());
    const auto last = layers(specification["layers"], "layers", "input");
    auto* node = add("Identity", {last});
    node->set_output(0, "output");
    describe(*graph().add_output(), "output", {specification["outputs"].get<std::int64_t>()});
    return model_.SerializeAsString();
  }

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
    const auto tensor = tensors_.at(name).detach().to(torch::kFloat32).contiguous();
    auto* initializer = graph().add_initializer();
    initializer->set_name(name);
    initializer->set_data_type(onnx::TensorProto::FLOAT);
    for (const auto size : tensor.sizes()) {
      initializer->add_dims(size);
    }
    initializer->set_raw_data(tensor.data_ptr(), tensor.nbytes());
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
  onnx::ModelProto model_;
};

}  // namespace

bool has_onnx() { return true; }

std::string onnx_model(const SavedModel& model) {
  return Exporter(model.tensors).run(model.specification);
}

#else

bool has_onnx() { return false; }

std::string onnx_model(const SavedModel&) {
  throw OptionError("this build does not write ONNX; libonnx-dev and a new build add it");
}

#endif

}  // namespace eigenscale
