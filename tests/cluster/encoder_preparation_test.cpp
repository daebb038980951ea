#include "eigenscale/cluster/encoder_preparation.h"

#include <gmock/gmock.h>

namespace eigenscale {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Completed {
  ClusteringSettings settings;
  std::vector<std::string> warnings;
};

Completed completed(const ClusteringOverrides& overrides, const std::string& pretrained = "",
                    const ClusteringSettings& settings = default_settings(1000, 10)) {
  Completed result;
  result.settings =
      with_read_overrides(settings, overrides, pretrained,
                          [&](const std::string& text) { result.warnings.push_back(text); });
  return result;
}

// What is compared when a run goes on: an option that nothing reads must not make it another run.
TEST(EncoderPreparation, OptionsOfAnotherEncoderAreSaidAndChangeNothing) {
  ClusteringOverrides overrides;
  overrides.channels = {3, 3};
  overrides.kernels = {5, 5};
  overrides.linear_latents = true;
  overrides.pretrain_batch = 7;
  overrides.pretrain_epochs = 9;
  overrides.threshold = 0.125;
  for (const char* encoder : {"none", "curves"}) {
    overrides.encoder = encoder;
    const auto [settings, warnings] = completed(overrides);
    EXPECT_THAT(warnings,
                ElementsAre("--encoder-channels changes nothing: it is of --encoder conv or mlp",
                            "--encoder-kernels changes nothing: it is of --encoder conv",
                            "--latents changes nothing: it is of --encoder conv",
                            "--pretrain-batch changes nothing: it is of --encoder conv or mlp",
                            "--pretrain-epochs changes nothing: it is of --encoder conv or mlp"));
    EXPECT_EQ(settings.encoder, encoder);
    EXPECT_THAT(settings.channels, IsEmpty());
    EXPECT_THAT(settings.kernels, IsEmpty());
    EXPECT_FALSE(settings.linear_latents);
    EXPECT_EQ(settings.pretrain_batch, 16);
    EXPECT_EQ(settings.pretrain_epochs, std::nullopt);
    EXPECT_EQ(settings.threshold, 0.125);
  }
  overrides.encoder = "mlp";
  const auto perceptron = completed(overrides);
  EXPECT_THAT(perceptron.warnings,
              ElementsAre(HasSubstr("--encoder-kernels"), HasSubstr("--latents")));
  EXPECT_THAT(perceptron.settings.channels, ElementsAre(3, 3));
  EXPECT_EQ(perceptron.settings.pretrain_batch, 7);
}

TEST(EncoderPreparation, AnEncoderReadsItsOptions) {
  ClusteringOverrides overrides;
  overrides.kernels = {5, 5};
  overrides.linear_latents = true;
  overrides.pretrain_epochs = 9;
  // A preset has its encoder without a word of the user's.
  const auto [settings, warnings] = completed(overrides, "", preset("orl", 40));
  EXPECT_THAT(warnings, IsEmpty());
  EXPECT_THAT(settings.kernels, ElementsAre(5, 5));
  EXPECT_TRUE(settings.linear_latents);
  EXPECT_EQ(settings.pretrain_epochs, 9);
  EXPECT_THAT(completed(overrides, "weights.safetensors", preset("orl", 40)).warnings,
              ElementsAre("--pretrain-epochs changes nothing: --pretrained is there already"));
}

}  // namespace
}  // namespace eigenscale
