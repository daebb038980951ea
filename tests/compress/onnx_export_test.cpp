#include "eigenscale/compress/onnx_export.h"

#include "eigenscale/core/errors.h"
#include "eigenscale/nn/named_networks.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

SavedModel small_cnn(const nlohmann::json& normalization) {
  const auto specification = named_network(
      "cnn:6,8", {.input = {1, 12, 12}, .classes = 4, .normalization = normalization});
  Network network(test::world(), specification, torch::kFloat32, 3);
  return {specification, named_parameters(network)};
}

// What the file says is checked in tests/apps/compress_test.py, by another runtime.
TEST(OnnxExportTest, RefusesLayersWithoutAnOperator) {
  if (!has_onnx()) {
    EXPECT_THROW(onnx_model(small_cnn({{"kind", "batch"}})), OptionError);
    return;
  }
  EXPECT_FALSE(onnx_model(small_cnn({{"kind", "batch"}})).empty());
  try {
    onnx_model(small_cnn({{"kind", "zca"}}));
    FAIL() << "exported whitening";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("norm1, a normalization of kind zca"));
  }
}

}  // namespace
}  // namespace eigenscale
