#include "eigenscale/nn/network.h"

#include <fstream>

#include "eigenscale/core/errors.h"
#include "eigenscale/nn/named_networks.h"
#include "eigenscale/nn/network_specification.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using Json = nlohmann::json;

Network make(const std::string& name, std::vector<std::int64_t> input, std::int64_t classes,
             torch::ScalarType type = torch::kFloat32) {
  return {test::world(), named_network(name, {.input = std::move(input), .classes = classes}), type,
          1};
}

std::int64_t size_of(const std::string& name, std::vector<std::int64_t> input,
                     std::int64_t classes) {
  return Network(test::world(),
                 named_network(name, {.input = std::move(input), .classes = classes}),
                 torch::kFloat32, std::nullopt)
      .parameter_count();
}

// Parameters of the published networks, as torchvision and the CIFAR variants count them.
TEST(NetworkTest, NamedNetworksHaveTheKnownSizes) {
  EXPECT_EQ(size_of("resnet18", {3, 32, 32}, 10), 11173962);
  EXPECT_EQ(size_of("resnet18", {3, 224, 224}, 1000), 11689512);
  EXPECT_EQ(size_of("resnet34", {3, 224, 224}, 1000), 21797672);
  EXPECT_EQ(size_of("resnet50", {3, 224, 224}, 1000), 25557032);
  EXPECT_EQ(size_of("mlp:2048,2048", {28, 28}, 10),
            784 * 2048 + 2048 + 2048 * 2048 + 2048 + 2048 * 10 + 10);
}

TEST(NetworkTest, ForwardGivesOneOutputPerClass) {
  torch::manual_seed(1);
  for (const std::string name : {"mlp", "cnn", "cnn:8,16", "lenet", "resnet18"}) {
    auto network = make(name, {1, 16, 12}, 7);
    const auto output = network.forward(torch::rand({3, 1, 16, 12}));
    EXPECT_EQ(output.sizes(), (std::vector<std::int64_t>{3, 7})) << name;
    EXPECT_TRUE(output.isfinite().all().item<bool>()) << name;
  }
}

TEST(NetworkTest, IsTheFunctionItsSpecificationSays) {
  const auto specification = complete_specification(Json::parse(R"({"input": [2, 6, 6], "layers": [
        {"type": "convolution", "name": "stem", "outputs": 4, "kernel": 3},
        {"type": "residual", "body": [{"type": "relu"},
            {"type": "convolution", "name": "inner", "outputs": 4, "kernel": 3}]},
        {"type": "max-pooling", "kernel": 2}, {"type": "flatten"},
        {"type": "linear", "name": "head", "outputs": 3}]})"),
                                                    "test");
  Network network(test::world(), specification, torch::kFloat64, 5);
  const auto p = network.named_parameters();
  const auto x = torch::rand({2, 2, 6, 6}, torch::kFloat64);
  const auto stem = torch::conv2d(x, p["layers.stem.weight"], p["layers.stem.bias"], 1, 1);
  const auto sum = stem + torch::conv2d(stem.relu(), p["layers.residual1.inner.weight"],
                                        p["layers.residual1.inner.bias"], 1, 1);
  const auto expected = torch::linear(torch::max_pool2d(sum, 2).flatten(1), p["layers.head.weight"],
                                      p["layers.head.bias"]);
  EXPECT_LE((network.forward(x) - expected).abs().max().item<double>(), 1e-12);
  EXPECT_EQ(specification_flops(specification), 2 * (4 * 2 * 9 * 36 + 4 * 4 * 9 * 36 + 3 * 36));
}

TEST(NetworkTest, StartsByHeAndTheSameEverywhere) {
  auto network = make("mlp:300", {200}, 10);
  const auto weight = network.named_parameters()["layers.linear1.weight"];
  // 60,000 normal draws: relative error of the deviation 1 / sqrt(120,000), five of them.
  EXPECT_NEAR(weight.std().item<double>(), std::sqrt(2.0 / 200), 0.015 * std::sqrt(2.0 / 200));
  auto first = weight.detach().clone();
  test::world().broadcast(first, 0);
  EXPECT_TRUE(torch::equal(first, weight.detach()));
  Network other(test::world(), network.specification(), torch::kFloat32, 2);
  EXPECT_FALSE(torch::equal(other.named_parameters()["layers.linear1.weight"], weight));
}

TEST(NetworkTest, Bfloat16ComputesNearlyTheSame) {
  const auto specification = named_network("cnn:8,16", {.input = {1, 12, 12}, .classes = 4});
  Network exact(test::world(), specification, torch::kFloat32, 1);
  Network rounded(test::world(), specification, torch::kBFloat16, 1);
  torch::manual_seed(3);
  const auto x = torch::rand({8, 1, 12, 12});
  const auto a = exact.forward(x);
  const auto b = rounded.forward(x);
  EXPECT_EQ(b.scalar_type(), torch::kFloat32);
  const double difference = ((a - b).abs().max() / a.abs().max()).item<double>();
  // Three layers that round to 2^-9, and normalisation that may amplify: 3 % leaves a factor of 5.
  EXPECT_LE(difference, 0.03);
  EXPECT_GT(difference, 0);
  b.sum().backward();
  EXPECT_EQ(rounded.parameters()[0].grad().scalar_type(), torch::kFloat32);
}

TEST(NetworkTest, NormalizationOptionsReachTheFirstLayerAlone) {
  const auto specification = named_network(
      "cnn:8,16",
      {.input = {1, 12, 12}, .classes = 4, .normalization = {{"kind", "zca"}, {"groups", 2}}});
  EXPECT_EQ(specification["layers"][1]["kind"], "zca");
  EXPECT_EQ(specification["layers"][1]["groups"], 2);
  EXPECT_EQ(specification["layers"][4]["kind"], "batch");
  const auto plain =
      named_network("cnn:8", {.input = {1, 12, 12}, .classes = 4, .normalization = nullptr});
  EXPECT_EQ(plain["layers"][1]["type"], "relu");
  EXPECT_EQ(plain["layers"][0]["bias"], true);
}

std::string message_of(const std::string& json) {
  try {
    complete_specification(Json::parse(json), "net.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(NetworkTest, ErrorsNameFileLayerAndWhatWasExpected) {
  using testing::HasSubstr;
  EXPECT_THAT(message_of(R"({"input": [4], "layers": [{"type": "lineer", "outputs": 2}]})"),
              HasSubstr("net.json: layers[0] has the unknown type \"lineer\""));
  EXPECT_THAT(message_of(R"({"input": [4], "layers": [{"type": "linear"}]})"),
              HasSubstr("needs \"outputs\""));
  EXPECT_THAT(message_of(R"({"input": [1, 4, 4], "layers": [{"type": "linear", "outputs": 2}]})"),
              HasSubstr("1x4x4; put a flatten before it"));
  EXPECT_THAT(
      message_of(R"({"input": [4], "layers": [{"type": "linear", "outputs": 2, "bias": 1}]})"),
      HasSubstr("expected true or false"));
  EXPECT_THAT(
      message_of(R"({"input": [4], "layers": [{"type": "linear", "outputs": 2, "widht": 1}]})"),
      HasSubstr("unknown key \"widht\""));
  EXPECT_THAT(message_of(R"({"input": [1, 4, 4], "layers": [
      {"type": "residual", "body": [{"type": "convolution", "outputs": 3, "kernel": 3}]}]})"),
              HasSubstr("adds a body of shape 3x4x4 to a shortcut of shape 1x4x4"));
  EXPECT_THAT(message_of(R"({"input": [1, 2, 2], "layers": [
      {"type": "convolution", "outputs": 3, "kernel": 5, "padding": 0}]})"),
              HasSubstr("a kernel of 5 on an image of 1x2x2"));
  EXPECT_THAT(message_of(R"({"input": [1, 4, 4], "layers": []})"), HasSubstr("expected a vector"));
  EXPECT_THAT(message_of(R"([1])"), HasSubstr("not a network"));
  EXPECT_THAT(message_of(R"({"input": [4], "layers": ["relu"]})"),
              HasSubstr("net.json: layers[0] is \"relu\"; expected an object with a \"type\""));
  EXPECT_THAT(message_of(R"({"input": [4], "layers": [{"type": "linear", "outputs": 2}, "relu"]})"),
              HasSubstr("layers[1] is \"relu\""));
  EXPECT_THAT(message_of(R"({"input": [4], "layers": {"type": "relu"}})"),
              HasSubstr("layers is {\"type\":\"relu\"}; expected a list of layers"));
  EXPECT_THAT(message_of(R"({"input": [4], "layers": []})"),
              HasSubstr("\"layers\" has no layer with weights"));
  EXPECT_THAT(message_of(R"({"input": [1.5], "layers": []})"), HasSubstr("\"input\" is [1.5]"));
  EXPECT_THAT(message_of(R"({"input": [0], "layers": []})"), HasSubstr("\"input\" is [0]"));
  EXPECT_THAT(message_of(R"({"input": 4, "layers": []})"), HasSubstr("such as [1, 28, 28]"));
  EXPECT_THAT(message_of(R"({"input": [4], "layer": [], "layers": []})"),
              HasSubstr("unknown key \"layer\""));
  EXPECT_THAT(message_of(R"({"input": [4], "scale": "1/255", "layers": []})"),
              HasSubstr("the model has scale \"1/255\"; expected a number other than 0"));
  const auto linear = [](const std::string& outputs) {
    return message_of(R"({"input": [4], "layers": [{"type": "linear", "outputs": )" + outputs +
                      "}]}");
  };
  for (const std::string outputs : {"0", "-1", "2.5", "\"2\"", "null", "[2]", "2147483648",
                                    "9223372036854775808", "18446744073709551615", "1e300"}) {
    EXPECT_THAT(linear(outputs), HasSubstr("expected a whole number of 1 to 2147483647"));
  }
  EXPECT_THAT(message_of(R"({"input": [1, 2000000000, 2000000000], "layers": [
      {"type": "convolution", "outputs": 1000, "kernel": 3}]})"),
              HasSubstr("layers[0] is larger than any memory"));
  const auto normalization = [](const std::string& keys) {
    return message_of(R"({"input": [4], "layers": [{"type": "linear", "outputs": 4},
                          {"type": "normalization", )" +
                      keys + "}]}");
  };
  EXPECT_THAT(normalization(R"("kind": 3)"),
              HasSubstr("net.json: layers[1] has kind 3; expected one of batch, zca, pca-denoise"));
  EXPECT_THAT(normalization(R"("gradient_rule": "tailor")"),
              HasSubstr("layers[1] has gradient_rule \"tailor\"; expected one of matrix-function"));
  EXPECT_THAT(normalization(R"("gradient_rule": null)"), HasSubstr("has gradient_rule null"));
  EXPECT_THAT(normalization(R"("momentum": 1.5)"), HasSubstr("momentum 1.5; expected 0 to 1"));
  EXPECT_THAT(normalization(R"("epsilon": -1)"), HasSubstr("expected a number of at least 0"));
  EXPECT_THAT(normalization(R"("energy": 0)"), HasSubstr("expected more than 0 and at most 1"));
  EXPECT_THAT(normalization(R"("kind": "zca", "components": 5)"),
              HasSubstr("expected at most the 4 channels"));
  EXPECT_THAT(normalization(R"("epsilon": 1e39)"), HasSubstr("which single precision holds"));
  EXPECT_THAT(
      message_of(R"({"input": [4], "scale": -1e39, "layers": []})"),
      HasSubstr("has scale -1e+39; expected a number other than 0, which single precision"));
  EXPECT_EQ(normalization(R"("kind": "zca", "gradient_rule": "taylor", "groups": 2)"), "no error");
  EXPECT_THROW(named_network("resnet19", {.input = {3, 8, 8}}), OptionError);
  EXPECT_THROW(named_network("mlp:0", {.input = {8}}), OptionError);
  EXPECT_THROW(named_network("cnn", {.input = {8}}), InputError);
}

// JSON has no words for these, and 1e999 is beyond double precision.
TEST(NetworkTest, AFileWithNumbersThatAreNotFiniteIsRefused) {
  const test::SharedDirectory directory;
  const auto path = directory.path() / ("net" + std::to_string(test::world().rank()) + ".json");
  const std::string scale =
      R"({"input": [4], "layers": [{"type": "linear", "outputs": 2}], "scale": )";
  const std::string size = R"({"layers": [{"type": "linear", "outputs": 2}], "input": )";
  for (const char* number : {"1e999", "-1e999", "nan", "NaN", "inf", "Infinity", "-inf"}) {
    for (const auto& start : {scale, size}) {
      std::ofstream(path) << start << number << "}";
      EXPECT_THAT([&] { read_specification(path); },
                  testing::ThrowsMessage<InputError>(testing::HasSubstr(" is not JSON: ")))
          << start << number;
    }
  }
}

TEST(NetworkTest, SpecificationIsCompleteAndStable) {
  const auto once = named_network("resnet18", {.input = {3, 32, 32}, .classes = 10});
  EXPECT_EQ(complete_specification(once, "again"), once);
}

}  // namespace
}  // namespace eigenscale
