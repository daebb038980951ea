#include "eigenscale/nn/autoencoder.h"

#include <cmath>

#include "eigenscale/core/errors.h"
#include "eigenscale/nn/safetensors.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

AutoencoderSpecification yale() {
  AutoencoderSpecification specification;
  specification.kind = EncoderKind::kConvolution;
  specification.channels = {10, 20, 30};
  specification.kernels = {5, 3, 3};
  specification.image_shape = {1, 48, 42};
  specification.features = 48 * 42;
  return specification;
}

AutoencoderSpecification perceptron() {
  AutoencoderSpecification specification;
  specification.kind = EncoderKind::kPerceptron;
  specification.widths = {12, 5};
  specification.features = 20;
  return specification;
}

TEST(AutoencoderTest, MirrorsTheShapesOfExtendedYaleB) {
  Autoencoder network(yale(), torch::kFloat32, 1);
  EXPECT_EQ(network.latent_size(), 1080);  // 30 channels of 6 x 6, the paper's p
  const auto latent = network.encode(torch::rand({4, 2016}));
  EXPECT_EQ(latent.sizes(), torch::IntArrayRef({4, 1080}));
  EXPECT_TRUE(latent.is_contiguous());
  const auto output = network.decode(latent);
  EXPECT_EQ(output.sizes(), torch::IntArrayRef({4, 2016}));
  EXPECT_TRUE(output.is_contiguous());
}

TEST(AutoencoderTest, NamesAndShapesAreThoseOfTheFiles) {
  const auto parameters = named_parameters(Autoencoder(yale(), torch::kFloat32, 1));
  const std::map<std::string, std::vector<std::int64_t>> expected = {
      {"encoder.conv1.weight", {10, 1, 5, 5}},    {"encoder.conv1.bias", {10}},
      {"encoder.conv2.weight", {20, 10, 3, 3}},   {"encoder.conv2.bias", {20}},
      {"encoder.conv3.weight", {30, 20, 3, 3}},   {"encoder.conv3.bias", {30}},
      {"decoder.deconv1.weight", {30, 20, 3, 3}}, {"decoder.deconv1.bias", {20}},
      {"decoder.deconv2.weight", {20, 10, 3, 3}}, {"decoder.deconv2.bias", {10}},
      {"decoder.deconv3.weight", {10, 1, 5, 5}},  {"decoder.deconv3.bias", {1}}};
  std::map<std::string, std::vector<std::int64_t>> actual;
  for (const auto& [name, tensor] : parameters) {
    actual[name] = tensor.sizes().vec();
  }
  EXPECT_EQ(actual, expected);
}

TEST(AutoencoderTest, RowsAndColumnsAreTheSameMap) {
  for (const auto& specification : {yale(), perceptron()}) {
    Autoencoder network(specification, torch::kFloat64, 3);
    const auto rows = torch::rand({5, specification.features}, torch::kFloat64);
    const auto latent = network.encode(rows);
    EXPECT_TRUE(torch::equal(latent, network.encode_columns(rows.t()).t()));
    EXPECT_TRUE(torch::equal(network.decode(latent), network.decode_columns(latent.t()).t()));
  }
}

TEST(AutoencoderTest, NoSampleDependsOnItsNeighbours) {
  Autoencoder network(yale(), torch::kFloat64, 3);
  const auto rows = torch::rand({5, 2016}, torch::kFloat64);
  const auto all = network.decode(network.encode(rows));
  const auto one = network.decode(network.encode(rows.narrow(0, 3, 1)));
  // Products of other widths may sum in another order: some hundred terms of size 1.
  EXPECT_LE((all.narrow(0, 3, 1) - one).abs().max().item<double>(), 1e-12);
}

TEST(AutoencoderTest, StartsEqualOnAllRanksWithinGlorotsLimit) {
  const Autoencoder network(yale(), torch::kFloat32, 5);
  double checksum = 0;
  for (const auto& [name, parameter] : named_parameters(network)) {
    checksum += parameter.square().sum().item<double>();
    if (parameter.dim() == 1) {
      EXPECT_EQ(parameter.abs().max().item<double>(), 0) << name;
      continue;
    }
    const double fans = static_cast<double>((parameter.size(0) + parameter.size(1)) *
                                            parameter.size(2) * parameter.size(3));
    const double limit = std::sqrt(6 / fans);
    EXPECT_LE(parameter.abs().max().item<double>(), limit * (1 + 1e-6)) << name;
    EXPECT_GT(parameter.abs().max().item<double>(), 0.95 * limit) << name;
  }
  EXPECT_EQ(all_reduce(test::world(), checksum, ReduceOp::kMax), checksum);
  EXPECT_EQ(all_reduce(test::world(), checksum, ReduceOp::kMin), checksum);
}

TEST(AutoencoderTest, LinearLatentsAreThoseOfReluBeforeIt) {
  auto linear = yale();
  linear.linear_latents = true;
  const auto rows = torch::rand({4, 2016});
  const auto bent = Autoencoder(yale(), torch::kFloat32, 1).encode(rows);
  const auto latent = Autoencoder(linear, torch::kFloat32, 1).encode(rows);
  EXPECT_LT(latent.min().item<double>(), 0);
  EXPECT_TRUE(torch::equal(latent.relu(), bent));
}

TEST(AutoencoderTest, NoneIsTheIdentityWithoutParameters) {
  AutoencoderSpecification specification;
  specification.features = 7;
  Autoencoder network(specification, torch::kFloat32, 1);
  const auto rows = torch::rand({3, 7});
  EXPECT_TRUE(torch::equal(network.encode(rows), rows));
  EXPECT_TRUE(torch::equal(network.decode(rows), rows));
  EXPECT_EQ(network.latent_size(), 7);
  EXPECT_TRUE(network.parameters().empty());
}

TEST(AutoencoderTest, PerceptronIsLinearReluLinear) {
  Autoencoder network(perceptron(), torch::kFloat64, 2);
  EXPECT_EQ(network.latent_size(), 5);
  auto parameters = named_parameters(network);
  const auto rows = torch::randn({4, 20}, torch::kFloat64);
  const auto hidden = rows.matmul(parameters["encoder.linear1.weight"].t()).relu();
  const auto latent = hidden.matmul(parameters["encoder.linear2.weight"].t());
  EXPECT_LE((network.encode(rows) - latent).abs().max().item<double>(), 1e-13);
  EXPECT_EQ(network.decode(latent).sizes(), rows.sizes());
}

TEST(AutoencoderTest, RefusesContradictions) {
  const auto refuse = [](auto change, auto error) {
    auto specification = yale();
    change(specification);
    EXPECT_THROW(Autoencoder(specification, torch::kFloat32, 1), decltype(error));
  };
  refuse([](auto& s) { s.kernels = {5, 3}; }, OptionError(""));
  refuse([](auto& s) { s.channels = s.kernels = {}; }, OptionError(""));
  refuse([](auto& s) { s.kernels = {5, 4, 3}; }, OptionError(""));
  refuse([](auto& s) { s.kernels = {5, 0, 3}; }, OptionError(""));
  refuse([](auto& s) { s.channels = {10, -1, 3}; }, OptionError(""));
  refuse([](auto& s) { s.image_shape = {0, 48, 42}; }, OptionError(""));
  refuse([](auto& s) { s.features = 2015; }, InputError(""));
  refuse([](auto& s) { s.features = 0; }, InputError(""));
  refuse(
      [](auto& s) {
        s.kind = EncoderKind::kPerceptron;
        s.widths = {12, 0};
      },
      OptionError(""));
  refuse([](auto& s) { s.kind = EncoderKind::kPerceptron; }, OptionError(""));
  EXPECT_THROW(parse_encoder_kind("cnn"), OptionError);
}

}  // namespace
}  // namespace eigenscale
