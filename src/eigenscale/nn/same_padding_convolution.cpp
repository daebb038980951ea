#include "eigenscale/nn/same_padding_convolution.h"

#include <algorithm>

#include "eigenscale/nn/patch_matrix.h"

namespace eigenscale {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

// The functions below are their own gradient rules, so their operators skip torch's autograd and
// view bookkeeping, which costs as much as the arithmetic on small images.
using WithoutAutograd = at::AutoDispatchBelowADInplaceOrView;

torch::Tensor as_column(const torch::Tensor& bias) { return bias.view({-1, 1}); }

// left (M x n) times the transpose of right (K x n), n in the ten thousands. For few rows M
// matrix-vector products are faster than OpenBLAS's matrix product (M = 3, K = 9, n = 51,200:
// 0.11 ms against 0.38; no longer at M = 5).
torch::Tensor product_with_transpose(const torch::Tensor& left, const torch::Tensor& right) {
  constexpr std::int64_t kFewRows = 4;
  if (left.size(0) > kFewRows) {
    return at::mm(left, right.t());
  }
  auto product = torch::empty({left.size(0), right.size(0)}, left.options());
  for (std::int64_t row = 0; row < left.size(0); ++row) {
    auto result = product.select(0, row);
    at::mv_out(result, right, left.select(0, row));
  }
  return product;
}

class ConvolutionFunction : public torch::autograd::Function<ConvolutionFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& images,
                               const torch::Tensor& weight, const torch::Tensor& bias, bool relu) {
    const bool needs_images = images.requires_grad();
    const WithoutAutograd guard;
    const PatchGeometry geometry(images.sizes(), weight.size(2));
    auto padded = geometry.padded_buffer(images.options());
    geometry.interior(padded).copy_(images);
    const auto patches = geometry.gather(padded);
    auto output = at::addmm(as_column(bias), weight.view({weight.size(0), -1}), patches)
                      .view({weight.size(0), geometry.output_height(), geometry.output_width(),
                             images.size(3)});
    if (relu) {
      output.relu_();
    }
    context->save_for_backward({patches, weight, relu ? output : torch::Tensor()});
    context->saved_data["shape"] = images.sizes().vec();
    context->saved_data["output_shape"] = output.sizes().vec();
    context->saved_data["needs_images"] = needs_images;
    return output;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto saved = context->get_saved_variables();
    const WithoutAutograd guard;
    const auto& patches = saved[0];
    const auto& weight = saved[1];
    const auto matrix = weight.view({weight.size(0), -1});
    auto gradient =
        torch::empty(context->saved_data["output_shape"].toIntVector(), weight.options());
    if (saved[2].defined()) {
      at::threshold_backward_out(gradient, gradients[0], saved[2], 0);
    } else {
      gradient.copy_(gradients[0]);
    }
    gradient = gradient.view({weight.size(0), patches.size(1)});
    torch::Tensor images_gradient;
    if (context->saved_data["needs_images"].toBool()) {
      const PatchGeometry geometry(context->saved_data["shape"].toIntVector(), weight.size(2));
      images_gradient = geometry.scatter(at::mm(matrix.t(), gradient));
    }
    return {images_gradient, product_with_transpose(gradient, patches).view(weight.sizes()),
            gradient.sum(1), torch::Tensor()};
  }
};

class TransposedConvolutionFunction
    : public torch::autograd::Function<TransposedConvolutionFunction> {
 public:
  static torch::Tensor forward(AutogradContext* context, const torch::Tensor& images,
                               const torch::Tensor& weight, const torch::Tensor& bias, bool relu,
                               std::int64_t height, std::int64_t width) {
    const bool needs_images = images.requires_grad();
    const WithoutAutograd guard;
    const PatchGeometry geometry({weight.size(1), height, width, images.size(3)}, weight.size(2));
    const auto matrix = weight.view({weight.size(0), -1});
    const auto input = images.reshape({weight.size(0), geometry.patches()});
    // The sum crops the scatter buffer's view into a contiguous image on the way.
    auto output = torch::empty({weight.size(1), height, width, images.size(3)}, images.options());
    at::add_out(output, geometry.scatter(at::mm(matrix.t(), input)), bias.view({-1, 1, 1, 1}));
    if (relu) {
      output.relu_();
    }
    context->save_for_backward({input, weight, relu ? output : torch::Tensor()});
    context->saved_data["shape"] = images.sizes().vec();
    context->saved_data["needs_images"] = needs_images;
    return output;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto saved = context->get_saved_variables();
    const WithoutAutograd guard;
    const auto& input = saved[0];
    const auto& weight = saved[1];
    const auto matrix = weight.view({weight.size(0), -1});
    const PatchGeometry geometry(gradients[0].sizes(), weight.size(2));
    auto padded = geometry.padded_buffer(input.options());
    auto interior = geometry.interior(padded);
    if (saved[2].defined()) {
      at::threshold_backward_out(interior, gradients[0], saved[2], 0);
    } else {
      interior.copy_(gradients[0]);
    }
    const auto patches = geometry.gather(padded);
    torch::Tensor images_gradient;
    if (context->saved_data["needs_images"].toBool()) {
      images_gradient = at::mm(matrix, patches).view(context->saved_data["shape"].toIntVector());
    }
    return {images_gradient,          product_with_transpose(input, patches).view(weight.sizes()),
            padded.flatten(1).sum(1), torch::Tensor(),
            torch::Tensor(),          torch::Tensor()};
  }
};

}  // namespace

SamePadding same_padding(std::int64_t input, std::int64_t kernel) {
  const auto output = (input + 1) / 2;
  const auto total = std::max<std::int64_t>((output - 1) * 2 + kernel - input, 0);
  return {output, total / 2, total - total / 2};
}

SamePaddingConvolution::SamePaddingConvolution(std::int64_t in_channels, std::int64_t out_channels,
                                               std::int64_t kernel, bool relu,
                                               torch::ScalarType precision)
    : weight_(register_parameter(
          "weight", torch::zeros({out_channels, in_channels, kernel, kernel}, precision))),
      bias_(register_parameter("bias", torch::zeros(out_channels, precision))),
      relu_(relu) {}

torch::Tensor SamePaddingConvolution::forward(const torch::Tensor& images) {
  return ConvolutionFunction::apply(images, weight_, bias_, relu_);
}

SamePaddingTransposedConvolution::SamePaddingTransposedConvolution(std::int64_t in_channels,
                                                                   std::int64_t out_channels,
                                                                   std::int64_t kernel, bool relu,
                                                                   torch::ScalarType precision)
    : weight_(register_parameter(
          "weight", torch::zeros({in_channels, out_channels, kernel, kernel}, precision))),
      bias_(register_parameter("bias", torch::zeros(out_channels, precision))),
      relu_(relu) {}

torch::Tensor SamePaddingTransposedConvolution::forward(const torch::Tensor& images,
                                                        std::int64_t height, std::int64_t width) {
  return TransposedConvolutionFunction::apply(images, weight_, bias_, relu_, height, width);
}

}  // namespace eigenscale
