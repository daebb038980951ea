#include "eigenscale/compress/onnx_export.h"

#include <fstream>
#include <map>

#include "eigenscale/core/errors.h"
#include "eigenscale/nn/named_networks.h"
#include "eigenscale/nn/network_specification.h"
#include "support/mpi_test.h"

#ifdef EIGENSCALE_HAVE_ONNX
#include <onnx/onnx_pb.h>
#endif

namespace eigenscale {
namespace {

SavedModel model_from(const nlohmann::json& specification) {
  Network network(test::world(), specification, torch::kFloat32, 3);
  return {specification, named_parameters(network)};
}

SavedModel small_cnn(const nlohmann::json& normalization) {
  return model_from(named_network(
      "cnn:6,8", {.input = {1, 12, 12}, .classes = 4, .normalization = normalization}));
}

TEST(OnnxExportTest, RefusesLayersWithoutAnOperator) {
  if (!has_onnx()) {
    EXPECT_THROW(require_onnx_operators(small_cnn({{"kind", "batch"}})), OptionError);
    return;
  }
  EXPECT_NO_THROW(require_onnx_operators(small_cnn({{"kind", "batch"}})));
  try {
    require_onnx_operators(small_cnn({{"kind", "zca"}}));
    FAIL() << "exported whitening";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("norm1, a normalization of kind zca"));
  }
}

#ifdef EIGENSCALE_HAVE_ONNX

std::string content(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// Writing is local: every rank has files of its own.
class OnnxFileTest : public testing::Test {
 protected:
  std::filesystem::path path() const {
    return directory_.path() / (std::to_string(test::world().rank()) + ".onnx");
  }

  onnx::ModelProto written(const SavedModel& model, std::int64_t largest_file = 1 << 30) {
    write_onnx(path(), model, largest_file);
    onnx::ModelProto result;
    EXPECT_TRUE(result.ParseFromString(content(path())));
    return result;
  }

  void TearDown() override { test::world().barrier(); }

  test::SharedDirectory directory_;
};

std::vector<std::string> operators(const onnx::ModelProto& model) {
  std::vector<std::string> result;
  for (const auto& node : model.graph().node()) {
    result.push_back(node.op_type());
  }
  return result;
}

torch::Tensor values_of(const std::string& bytes) {
  return torch::from_blob(const_cast<char*>(bytes.data()),
                          {static_cast<std::int64_t>(bytes.size() / sizeof(float))},
                          torch::kFloat32)
      .clone();
}

// That runtimes compute the same from it is checked in tests/apps/onnx_test.py.
TEST_F(OnnxFileTest, TheGraphIsTheNetworkBehindTheScale) {
  auto model = small_cnn({{"kind", "batch"}});
  EXPECT_EQ(
      operators(written(model)),
      (std::vector<std::string>{"Conv", "BatchNormalization", "Relu", "Conv", "BatchNormalization",
                                "Relu", "GlobalAveragePool", "Flatten", "Gemm", "Identity"}));
  model.specification["scale"] = 0.25;
  const auto scaled = written(model);
  const auto& graph = scaled.graph();
  ASSERT_EQ(graph.node(0).op_type(), "Mul");
  EXPECT_EQ(graph.node(0).input(0), "input");
  EXPECT_EQ(graph.node(1).input(0), graph.node(0).output(0));
  EXPECT_EQ(graph.input(0).type().tensor_type().shape().dim_size(), 4);
  EXPECT_EQ(graph.input(0).type().tensor_type().shape().dim(0).dim_param(), "N");
  std::map<std::string, torch::Tensor> found;
  for (const auto& initializer : graph.initializer()) {
    found[initializer.name()] = values_of(initializer.raw_data());
  }
  EXPECT_EQ(found.at("scale").item<float>(), 0.25F);
  for (const auto& [name, tensor] : model.tensors) {
    EXPECT_TRUE(torch::equal(found.at(name), tensor.detach().to(torch::kFloat32).flatten()))
        << name;
  }
}

TEST_F(OnnxFileTest, PoolingSaysItsPadding) {
  const auto model = model_from(complete_specification(nlohmann::json::parse(R"({"input": [1, 9, 9],
      "layers": [{"type": "convolution", "outputs": 2, "kernel": 3},
                 {"type": "max-pooling", "kernel": 3, "stride": 2, "padding": 1},
                 {"type": "flatten"}, {"type": "linear", "outputs": 2}]})"),
                                                       "test"));
  const auto found = written(model);
  std::map<std::string, std::vector<std::int64_t>> attributes;
  for (const auto& attribute : found.graph().node(1).attribute()) {
    attributes[attribute.name()] = {attribute.ints().begin(), attribute.ints().end()};
  }
  EXPECT_EQ(found.graph().node(1).op_type(), "MaxPool");
  EXPECT_EQ(attributes["pads"], (std::vector<std::int64_t>{1, 1, 1, 1}));
  EXPECT_EQ(attributes["strides"], (std::vector<std::int64_t>{2, 2}));
}

// Protobuf ends at 2 GiB; here the limit is below the weights of a small network.
TEST_F(OnnxFileTest, WeightsThatDoNotFitLieBesideTheGraph) {
  const auto model = small_cnn({{"kind", "batch"}});
  const auto found = written(model, 100);
  const auto data = content(path().string() + ".data");
  std::size_t tensors = 0;
  for (const auto& initializer : found.graph().initializer()) {
    ASSERT_EQ(initializer.data_location(), onnx::TensorProto::EXTERNAL);
    EXPECT_FALSE(initializer.has_raw_data());
    std::map<std::string, std::string> entries;
    for (const auto& entry : initializer.external_data()) {
      entries[entry.key()] = entry.value();
    }
    EXPECT_EQ(entries["location"], path().filename().string() + ".data");
    const auto begin = std::stoul(entries["offset"]);
    EXPECT_EQ(begin % 4096, 0U);
    const auto expected = model.tensors.at(initializer.name()).detach().to(torch::kFloat32);
    EXPECT_TRUE(torch::equal(values_of(data.substr(begin, std::stoul(entries["length"]))),
                             expected.flatten()))
        << initializer.name();
    ++tensors;
  }
  EXPECT_EQ(tensors, model.tensors.size());
}

#endif

}  // namespace
}  // namespace eigenscale
