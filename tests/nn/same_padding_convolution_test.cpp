#include "eigenscale/nn/same_padding_convolution.h"

#include <tuple>

#include <cmath>

#include "support/mpi_test.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kSamples = 3;
constexpr std::int64_t kIn = 2;
constexpr std::int64_t kOut = 4;
// Sums of at most kOut * 5 * 5 products of numbers near 1, in double: 100 * 2^-53 with room for
// the order of summation.
constexpr double kTolerance = 1e-12;

torch::Tensor random(torch::IntArrayRef shape, bool requires_grad = false) {
  return torch::randn(shape, torch::kFloat64).requires_grad_(requires_grad);
}

torch::Tensor batch_last(const torch::Tensor& images) { return images.permute({1, 2, 3, 0}); }
torch::Tensor batch_first(const torch::Tensor& images) { return images.permute({3, 0, 1, 2}); }

void expect_equal(const torch::Tensor& actual, const torch::Tensor& expected) {
  ASSERT_EQ(actual.sizes(), expected.sizes());
  EXPECT_LE((actual - expected).abs().max().item<double>(),
            kTolerance * (1 + expected.abs().max().item<double>()));
}

template <typename Layer>
void randomize(Layer& layer) {
  torch::NoGradGuard no_grad;
  for (auto& parameter : layer.parameters()) {
    parameter.normal_();
  }
}

// What TensorFlow documents, written out with libtorch's own operators.
torch::Tensor reference_convolution(const torch::Tensor& images, const torch::Tensor& weight,
                                    const torch::Tensor& bias) {
  const auto rows = same_padding(images.size(2), weight.size(2));
  const auto columns = same_padding(images.size(3), weight.size(2));
  return at::conv2d(
      at::constant_pad_nd(images, {columns.before, columns.after, rows.before, rows.after}), weight,
      bias, 2);
}

torch::Tensor reference_transposed(const torch::Tensor& images, const torch::Tensor& weight,
                                   const torch::Tensor& bias, std::int64_t height,
                                   std::int64_t width) {
  const auto rows = same_padding(height, weight.size(2));
  const auto columns = same_padding(width, weight.size(2));
  return at::conv_transpose2d(images, weight, bias, 2, 0, 1)
      .narrow(2, rows.before, height)
      .narrow(3, columns.before, width);
}

TEST(SamePaddingTest, SplitsThePaddingAsTensorFlowDoes) {
  const auto even = same_padding(32, 3);
  EXPECT_EQ(std::tuple(even.output, even.before, even.after), std::tuple(16, 0, 1));
  const auto odd = same_padding(21, 3);
  EXPECT_EQ(std::tuple(odd.output, odd.before, odd.after), std::tuple(11, 1, 1));
  const auto wide = same_padding(48, 5);
  EXPECT_EQ(std::tuple(wide.output, wide.before, wide.after), std::tuple(24, 1, 2));
  const auto point = same_padding(32, 1);
  EXPECT_EQ(std::tuple(point.output, point.before, point.after), std::tuple(16, 0, 0));
}

using ConvolutionCase = std::tuple<std::int64_t, std::int64_t, std::int64_t, bool>;

class ConvolutionTest : public testing::TestWithParam<ConvolutionCase> {
 protected:
  void SetUp() override {
    torch::manual_seed(7);
    std::tie(height_, width_, kernel_, relu_) = GetParam();
  }

  // Values and all three gradients of `layer` against those of `reference`.
  template <typename Layer, typename Forward, typename Reference>
  void compare(Layer& layer, torch::IntArrayRef shape, Forward forward, Reference reference) {
    randomize(layer);
    auto images = random(shape, true);
    const auto parameters = layer.named_parameters();
    auto expected = reference(images, parameters["weight"], parameters["bias"]);
    if (relu_) {
      expected = expected.relu();
    }
    const auto actual = batch_first(forward(batch_last(images)));
    expect_equal(actual, expected);

    const auto gradient = random(expected.sizes());
    const std::vector<torch::Tensor> inputs = {images, parameters["weight"], parameters["bias"]};
    const auto expected_gradients = torch::autograd::grad({expected}, inputs, {gradient});
    const auto actual_gradients = torch::autograd::grad({actual}, inputs, {gradient});
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      expect_equal(actual_gradients[i], expected_gradients[i]);
    }
  }

  std::int64_t height_ = 0;
  std::int64_t width_ = 0;
  std::int64_t kernel_ = 0;
  bool relu_ = false;
};

TEST_P(ConvolutionTest, EqualsLibtorchWithExplicitPadding) {
  SamePaddingConvolution layer(kIn, kOut, kernel_, relu_);
  compare(
      layer, {kSamples, kIn, height_, width_},
      [&](const torch::Tensor& images) { return layer.forward(images); }, reference_convolution);
}

TEST_P(ConvolutionTest, TransposedEqualsLibtorchCropped) {
  SamePaddingTransposedConvolution layer(kOut, kIn, kernel_, relu_);
  compare(
      layer, {kSamples, kOut, (height_ + 1) / 2, (width_ + 1) / 2},
      [&](const torch::Tensor& images) { return layer.forward(images, height_, width_); },
      [&](const torch::Tensor& images, const torch::Tensor& weight, const torch::Tensor& bias) {
        return reference_transposed(images, weight, bias, height_, width_);
      });
}

TEST_P(ConvolutionTest, TransposedIsTheAdjoint) {
  torch::NoGradGuard no_grad;
  SamePaddingConvolution convolution(kIn, kOut, kernel_, false);
  SamePaddingTransposedConvolution transposed(kOut, kIn, kernel_, false);
  const auto weight = convolution.named_parameters()["weight"].normal_();
  transposed.named_parameters()["weight"].copy_(weight);
  const auto x = random({kIn, height_, width_, kSamples});
  const auto y = random({kOut, (height_ + 1) / 2, (width_ + 1) / 2, kSamples});
  const double left = (convolution.forward(x) * y).sum().item<double>();
  const double right = (x * transposed.forward(y, height_, width_)).sum().item<double>();
  // The scale of an inner product's error is that of the sum of absolute terms.
  const double scale = (convolution.forward(x) * y).abs().sum().item<double>();
  EXPECT_NEAR(left, right, kTolerance * (1 + scale));
}

TEST_P(ConvolutionTest, GradientsAreCentralDifferences) {
  SamePaddingConvolution convolution(kIn, kOut, kernel_, relu_);
  SamePaddingTransposedConvolution transposed(kOut, kIn, kernel_, relu_);
  randomize(convolution);
  randomize(transposed);
  const auto images = random({kIn, height_, width_, kSamples});
  const auto loss = [&] {
    return transposed.forward(convolution.forward(images), height_, width_).square().sum();
  };
  loss().backward();
  torch::NoGradGuard no_grad;
  for (auto& module : {static_cast<torch::nn::Module*>(&convolution),
                       static_cast<torch::nn::Module*>(&transposed)}) {
    for (auto& parameter : module->parameters()) {
      auto value = parameter.view(-1)[0];
      const double step = 1e-6;
      value.add_(step);
      const double above = loss().item<double>();
      value.sub_(2 * step);
      const double below = loss().item<double>();
      value.add_(step);
      const double gradient = parameter.grad().view(-1)[0].item<double>();
      // Rounding of the loss over the step (1e-16 * loss / 1e-6) and kinks of ReLU in between.
      EXPECT_NEAR((above - below) / (2 * step), gradient,
                  1e-5 * (std::abs(gradient) + 1e-4 * std::abs(above)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, ConvolutionTest,
                         testing::Combine(testing::Values(32, 21, 11, 6, 7),
                                          testing::Values(32, 6, 7), testing::Values(1, 3, 5),
                                          testing::Bool()));

TEST(SamePaddingConvolutionTest, TakesNoSamples) {
  SamePaddingConvolution convolution(1, 3, 3, true);
  SamePaddingTransposedConvolution transposed(3, 1, 3, true);
  const auto output = transposed.forward(convolution.forward(torch::zeros({1, 8, 8, 0})), 8, 8);
  EXPECT_EQ(output.sizes(), torch::IntArrayRef({1, 8, 8, 0}));
  output.sum().backward();
  EXPECT_EQ(convolution.named_parameters()["weight"].grad().abs().max().item<double>(), 0);
}

}  // namespace
}  // namespace eigenscale
