#include "eigenscale/compress/neuron_removal.h"

#include "compress_test_support.h"
#include "eigenscale/nn/channel_graph.h"
#include "eigenscale/nn/named_networks.h"

namespace eigenscale {
namespace {

// In double, where outputs of equal networks differ by sums of a few thousand terms.
constexpr double kRounding = 1e-10;

/// A network with weights and statistics as after some training.
SavedModel model_of(const std::string& name, const nlohmann::json& normalization) {
  torch::manual_seed(8);
  const torch::NoGradGuard no_grad;
  const auto specification =
      named_network(name, {.input = {1, 12, 12}, .classes = 4, .normalization = normalization});
  Network network(test::world(), specification, torch::kFloat64, 3);
  auto tensors = named_parameters(network);
  for (auto& [key, tensor] : tensors) {
    tensor = tensor.detach().clone();
    if (key.ends_with("running_variance")) {
      tensor.uniform_(0.5, 2);
    } else if (tensor.dim() == 1) {
      tensor.add_(0.3 * torch::randn(tensor.sizes(), tensor.scalar_type()));
    }
  }
  return {specification, tensors};
}

/// Kills the channels c with c % 3 == 1 of every space that may lose some: all rows zero, and of
/// normalisations too unless `constants` are to be left.
void kill(SavedModel& model, bool constants) {
  for (const auto& space : channel_spaces(model.specification)) {
    if (space.fixed || space.consumers.empty()) {
      continue;
    }
    for (std::int64_t c = 1; c < space.channels; c += 3) {
      for (const auto& producer : space.producers) {
        model.tensors[producer.path + ".weight"][c].zero_();
        if (!constants && model.tensors.contains(producer.path + ".bias")) {
          model.tensors[producer.path + ".bias"][c].zero_();
        }
      }
      for (const auto& normalization : space.normalizations) {
        if (!constants) {
          model.tensors[normalization.path + ".weight"][c].zero_();
          model.tensors[normalization.path + ".bias"][c].zero_();
        }
      }
    }
  }
}

std::int64_t channels(const SavedModel& model) {
  std::int64_t sum = 0;
  for (const auto& space : channel_spaces(model.specification)) {
    sum += space.channels;
  }
  return sum;
}

TEST(NeuronRemovalTest, DeadNeuronsGoAndOutputsStay) {
  for (const std::string name : {"mlp:9,12", "cnn:6,9,12", "lenet", "resnet18"}) {
    const auto original = [&] {
      auto model = model_of(name, {{"kind", "batch"}});
      kill(model, false);
      return model;
    }();
    auto model = original;
    const auto removed = remove_dead_neurons(model);
    ASSERT_FALSE(removed.empty()) << name;
    for (const auto& one : removed) {
      EXPECT_EQ(one.after, one.before - (one.before + 1) / 3) << name << " " << one.layer;
    }
    EXPECT_LT(model.parameter_count(), original.parameter_count()) << name;
    EXPECT_LE(test::output_change(original, model), kRounding) << name;
    auto again = model;
    remove_dead_neurons(again);
    EXPECT_EQ(channels(again), channels(model)) << name;
  }
}

TEST(NeuronRemovalTest, ConstantsMoveIntoBiasesOfLinearLayers) {
  const auto original = [&] {
    auto model = model_of("mlp:9,12", nullptr);
    kill(model, true);
    return model;
  }();
  auto model = original;
  remove_dead_neurons(model);
  EXPECT_EQ(channels(model), channels(original) - 3 - 4);
  EXPECT_LE(test::output_change(original, model), kRounding);
}

// Behind a dead filter normalisation leaves its shift, which zero padding cuts off at the border: a
// bias cannot say that, so those channels stay; the last ones, behind pooling, go.
TEST(NeuronRemovalTest, ConstantsStayWherePaddingMakesThemInexact) {
  const auto original = [&] {
    auto model = model_of("cnn:6,9", {{"kind", "batch"}});
    for (auto& [name, tensor] : model.tensors) {
      if (name.ends_with("norm1.bias") || name.ends_with("norm2.bias")) {
        tensor.uniform_(5, 6);  // a constant above zero, whatever the running mean
      }
    }
    kill(model, true);
    return model;
  }();
  auto model = original;
  const auto removed = remove_dead_neurons(model);
  ASSERT_EQ(removed.size(), 2U);
  EXPECT_EQ(removed[0].after, removed[0].before);
  EXPECT_EQ(removed[1].after, removed[1].before - 3);
  EXPECT_LE(test::output_change(original, model), kRounding);
}

TEST(NeuronRemovalTest, NeuronsThatNobodyReadsGo) {
  auto original = model_of("mlp:9,12", nullptr);
  original.tensors["layers.linear3.weight"].slice(1, 0, 5).zero_();
  // Without the five, the columns that only they read are unread too.
  auto first = original.tensors["layers.linear2.weight"];
  first.slice(0, 5, 12).slice(1, 2, 4).zero_();
  auto model = original;
  remove_dead_neurons(model);
  EXPECT_EQ(channels(model), channels(original) - 5 - 2);
  EXPECT_LE(test::output_change(original, model), kRounding);
}

TEST(NeuronRemovalTest, OneNeuronStaysInALayerThatIsAllDead) {
  auto original = model_of("mlp:9,12", nullptr);
  original.tensors["layers.linear2.weight"].zero_();
  original.tensors["layers.linear2.bias"].fill_(0.5);
  auto model = original;
  remove_dead_neurons(model);
  EXPECT_EQ(model.specification["layers"][3]["outputs"], 1);
  EXPECT_LE(test::output_change(original, model), kRounding);
}

TEST(NeuronRemovalTest, MagnitudePruningKeepsTheLargest) {
  auto model = model_of("mlp:9,12", nullptr);
  const auto norms = model.tensors["layers.linear1.weight"].flatten(1).norm(2, {1});
  const auto kept = std::get<0>(std::get<1>(norms.topk(5)).sort());
  const auto expected = model.tensors["layers.linear1.weight"].index_select(0, kept);
  remove_smallest_neurons(model, 0.5);
  EXPECT_TRUE(torch::equal(model.tensors["layers.linear1.weight"], expected));
  EXPECT_EQ(model.tensors["layers.linear2.weight"].sizes(), (std::vector<std::int64_t>{6, 5}));
}

TEST(NeuronRemovalTest, TheShareIsNotRoundedUpByRounding) {
  auto model = model_of("mlp:100", nullptr);  // 0.07 x 100 is 7.000000000000001
  EXPECT_EQ(remove_smallest_neurons(model, 0.07).front().after, 7);
  model = model_of("mlp:100", nullptr);
  EXPECT_EQ(remove_smallest_neurons(model, 0.071).front().after, 8);
}

TEST(NeuronRemovalTest, BatchNormalisationHasNoGroupsToKeepWhole) {
  auto model = model_of("cnn:6,8", {{"kind", "batch"}, {"groups", 2}});
  remove_smallest_neurons(model, 0.5);  // 3 of 6
  EXPECT_EQ(model.specification["layers"][0]["outputs"], 3);
}

TEST(NeuronRemovalTest, ANetworkThatLostANeuronByMistakeIsNoticed) {
  const auto original = model_of("mlp:9,12", nullptr);
  auto model = original;
  remove_smallest_neurons(model, 0.9);
  EXPECT_GT(test::output_change(original, model), 1e-5);
}

}  // namespace
}  // namespace eigenscale
