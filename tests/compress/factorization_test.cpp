#include "eigenscale/compress/factorization.h"

#include "compress_test_support.h"
#include "eigenscale/nn/named_networks.h"

namespace eigenscale {
namespace {

SavedModel small_model(const std::string& name) {
  const auto specification = named_network(
      name, {.input = {1, 12, 12}, .classes = 4, .normalization = {{"kind", "batch"}}});
  Network network(test::world(), specification, torch::kFloat64, 3);
  auto tensors = named_parameters(network);
  for (auto& [key, tensor] : tensors) {
    tensor = tensor.detach().clone();
  }
  return {specification, tensors};
}

void make_rank(torch::Tensor weight, std::int64_t rank) {
  torch::manual_seed(2);
  const auto m = weight.size(0);
  const auto n = weight.numel() / m;
  weight.copy_((torch::randn({m, rank}, weight.scalar_type())
                    .mm(torch::randn({rank, n}, weight.scalar_type())) /
                std::sqrt(static_cast<double>(rank * n)))
                   .view(weight.sizes()));
}

TEST(FactorizationTest, LayersOfLowRankBecomeTwoAndOutputsStay) {
  for (const std::string name : {"mlp:30,24", "cnn:12,16", "resnet18"}) {
    auto original = small_model(name);
    std::int64_t low = 0;
    for (auto& [key, tensor] : original.tensors) {
      if (key.ends_with("weight") && tensor.dim() > 1 && tensor.size(0) > 8) {
        make_rank(tensor, 3);
        ++low;
      }
    }
    auto model = original;
    const auto ranks = factorize(model, 1.0);
    std::int64_t factorized = 0;
    for (const auto& one : ranks) {
      factorized += one.factorized ? 1 : 0;
      EXPECT_EQ(one.factorized, one.rank == 3) << name << " " << one.layer;
    }
    EXPECT_GE(factorized, low - 1) << name;  // the first convolution reads one channel: 9 wide
    EXPECT_LT(model.parameter_count(), original.parameter_count()) << name;
    EXPECT_LE(test::output_change(original, model), 1e-10) << name;
  }
}

TEST(FactorizationTest, FactorsAreMadeOnlyWhereTheySave) {
  const auto original = small_model("mlp:30,24");
  auto model = original;
  for (const auto& one : factorize(model, 1.0)) {
    EXPECT_FALSE(one.factorized) << one.layer;
  }
  EXPECT_EQ(model.parameter_count(), original.parameter_count());
  EXPECT_EQ(test::output_change(original, model), 0);
}

TEST(FactorizationTest, AFactorisedNetworkCanBeFactorisedAgain) {
  auto model = small_model("mlp:30,24");
  make_rank(model.tensors["layers.linear2.weight"], 8);
  factorize(model, 1.0);
  const auto once = model;
  make_rank(model.tensors["layers.linear2.weight"], 2);
  const auto before = model;
  factorize(model, 1.0);
  EXPECT_TRUE(model.tensors.contains("layers.linear2-basis2.weight"));
  EXPECT_LT(model.parameter_count(), once.parameter_count());
  EXPECT_LE(test::output_change(before, model), 1e-10);
}

// Squares 16, 4, 1, 1 of 22: 0.72, 0.90, 0.95 and all of them.
TEST(FactorizationTest, TheRankHoldsTheShareOfSquares) {
  auto model = small_model("mlp:30,24");
  auto weight = model.tensors["layers.linear2.weight"];
  weight.zero_();
  const std::vector<double> singular = {4, 2, 1, 1};
  for (std::int64_t i = 0; i < 4; ++i) {
    weight[i][i] = singular[i];
  }
  for (const auto& [energy, rank] :
       {std::pair{0.5, 1}, {0.72, 1}, {0.8, 2}, {0.9, 2}, {0.93, 3}, {0.99, 4}, {1.0, 4}}) {
    auto copy = model;
    EXPECT_EQ(factorize(copy, energy)[1].rank, rank) << energy;
  }
}

}  // namespace
}  // namespace eigenscale
