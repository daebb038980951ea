#include <cmath>

#include "eigenscale/nn/channel_graph.h"
#include "eigenscale/nn/channel_surgery.h"
#include "eigenscale/nn/constant_channels.h"
#include "eigenscale/nn/named_networks.h"
#include "eigenscale/nn/network_specification.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using Json = nlohmann::json;

Json residual_network() {
  return complete_specification(Json::parse(R"({"input": [2, 8, 8], "layers": [
    {"type": "convolution", "outputs": 6, "kernel": 3},
    {"type": "normalization"}, {"type": "relu"},
    {"type": "residual", "body": [
       {"type": "convolution", "outputs": 5, "kernel": 3}, {"type": "normalization"},
       {"type": "relu"},
       {"type": "convolution", "outputs": 6, "kernel": 3}, {"type": "normalization"}],
     "shortcut": []},
    {"type": "relu"},
    {"type": "max-pooling", "kernel": 2},
    {"type": "flatten"},
    {"type": "linear", "outputs": 7}, {"type": "relu"},
    {"type": "linear", "outputs": 3}]})"),
                                "test");
}

std::vector<std::string> paths(const std::vector<LayerPlace>& places) {
  std::vector<std::string> result;
  for (const auto& place : places) {
    result.push_back(place.path);
  }
  return result;
}

TEST(ChannelsTest, ResidualAdditionsTieChannels) {
  const auto spaces = channel_spaces(residual_network());
  ASSERT_EQ(spaces.size(), 5U);
  EXPECT_TRUE(spaces[0].fixed);  // the input
  const auto& tied = spaces[1];
  EXPECT_FALSE(tied.fixed);
  EXPECT_EQ(tied.channels, 6);
  EXPECT_EQ(tied.name(), "conv1");
  EXPECT_EQ(paths(tied.producers),
            (std::vector<std::string>{"layers.conv1", "layers.residual1.conv3"}));
  EXPECT_EQ(paths(tied.normalizations),
            (std::vector<std::string>{"layers.norm1", "layers.residual1.norm3"}));
  EXPECT_EQ(paths(tied.consumers),
            (std::vector<std::string>{"layers.residual1.conv2", "layers.linear1"}));
  EXPECT_EQ(tied.consumers[1].per_channel, 16);  // 4 x 4 pixels
  EXPECT_EQ(spaces[2].channels, 5);
  EXPECT_EQ(spaces[3].name(), "linear1");
  EXPECT_TRUE(spaces[4].fixed);  // the output
}

TEST(ChannelsTest, WhitenedChannelsCannotGoOneByOne) {
  const auto specification = named_network(
      "cnn:6,8", {.input = {1, 8, 8}, .classes = 3, .normalization = {{"kind", "zca"}}});
  const auto spaces = channel_spaces(specification);
  EXPECT_TRUE(spaces[1].fixed);
  EXPECT_FALSE(spaces[2].fixed);
}

// Kept channels see what they saw, and those taken out contributed nothing: weights from them are
// zero here, which is why outputs stay.
TEST(ChannelsTest, SurgeryTakesOutWhatNobodyReads) {
  torch::manual_seed(4);
  SavedModel model{residual_network(), {}};
  Network network(test::world(), model.specification, torch::kFloat64, 3);
  network.eval();
  const auto samples = torch::randn({5, 2, 8, 8}, torch::kFloat64);
  const torch::NoGradGuard no_grad;
  const auto spaces = channel_spaces(model.specification);
  for (auto& [name, tensor] : named_parameters(network)) {
    if (name.find("running_variance") == std::string::npos) {
      tensor.add_(0.1 * torch::randn(tensor.sizes(), torch::kFloat64));
    }
  }
  const auto gone = torch::tensor({1, 4});
  for (const auto& consumer : spaces[1].consumers) {
    auto weight = network.named_parameters()[consumer.path + ".weight"];
    weight.index_fill_(1, values_of_channels(gone, consumer.per_channel), 0);
  }
  const auto before = network.forward(samples);
  model.tensors = named_parameters(network);
  keep_channels(model, spaces[1], torch::tensor({0, 2, 3, 5}));
  EXPECT_EQ(channel_spaces(model.specification)[1].channels, 4);
  const auto after = make_network(test::world(), model, torch::kFloat64, "test")->forward(samples);
  // Sums of a few hundred terms, less some zeros.
  EXPECT_LE((after - before).abs().max().item<double>(), 1e-12 * before.abs().max().item<double>());
}

TEST(ChannelsTest, ConstantsAreWhatTheNetworkComputes) {
  torch::manual_seed(6);
  const auto specification = complete_specification(Json::parse(R"({"input": [2, 6, 6], "layers": [
    {"type": "convolution", "outputs": 4, "kernel": 3},
    {"type": "normalization"}, {"type": "relu"},
    {"type": "convolution", "outputs": 3, "kernel": 3, "padding": 0}, {"type": "relu"},
    {"type": "convolution", "outputs": 5, "kernel": 3, "padding": 1}, {"type": "relu"},
    {"type": "average-pooling"}, {"type": "flatten"},
    {"type": "linear", "outputs": 3}]})"),
                                                    "test");
  Network network(test::world(), specification, torch::kFloat64, 3);
  const torch::NoGradGuard no_grad;
  auto tensors = named_parameters(network);
  for (const char* bias : {"layers.norm1.bias", "layers.conv2.bias", "layers.conv3.bias"}) {
    tensors[bias].uniform_(0.5, 1.5);
  }
  tensors["layers.norm1.running_mean"].uniform_(-0.1, 0.1);
  tensors["layers.conv1.weight"][1].zero_();  // a constant behind its normalisation
  tensors["layers.norm1.weight"][2] = 0;      // another, by its scale
  tensors["layers.conv2.weight"].slice(1, 0, 1).zero_();
  tensors["layers.conv2.weight"].slice(1, 3, 4).zero_();  // reads constants alone, without padding
  tensors["layers.conv3.weight"][0].zero_();
  const auto constants = constant_inputs(specification, tensors);
  const auto& of_conv2 = constants.at("layers.conv2");
  EXPECT_TRUE(of_conv2[0].isnan().item<bool>());
  EXPECT_FALSE(of_conv2[1].isnan().item<bool>());
  EXPECT_FALSE(of_conv2[2].isnan().item<bool>());
  EXPECT_FALSE(constants.at("layers.conv3").isnan().any().item<bool>());
  const auto& of_linear = constants.at("layers.linear1");
  EXPECT_FALSE(of_linear[0].isnan().item<bool>());
  // Zero padding makes the border another value than the middle.
  EXPECT_TRUE(of_linear.narrow(0, 1, 4).isnan().all().item<bool>());

  network.eval();
  auto rest = tensors;
  const auto samples = torch::randn({2, 2, 6, 6}, torch::kFloat64);
  auto linear = tensors["layers.linear1.weight"];
  linear.zero_();
  linear.slice(1, 0, 1).fill_(1);
  tensors["layers.linear1.bias"].zero_();
  const auto output = network.forward(samples);
  EXPECT_LE((output - of_linear[0]).abs().max().item<double>(), 1e-12);
}

}  // namespace
}  // namespace eigenscale
