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

// Sums over samples and pixels, n in the ten thousands, are formed in double; columns are converted
// in pieces that stay in cache, or, on a device, whose every call costs as much as such a piece, in
// pieces of a quarter of a gigabyte.
constexpr std::int64_t kValuesInCache = 1 << 18;
constexpr std::int64_t kValuesOnDevice = 1 << 25;

/// Of pieces of so many rows of matrices as wide as `matrix`, where that is.
std::int64_t piece_width(std::int64_t rows, const torch::Tensor& matrix) {
  const std::int64_t values = matrix.is_cpu() ? kValuesInCache : kValuesOnDevice;
  return std::clamp<std::int64_t>(values / rows, 64, std::max<std::int64_t>(64, matrix.size(1)));
}

/// Columns first .. first + count of a float or double matrix in `buffer`, contiguous double.
torch::Tensor converted(const torch::Tensor& matrix, std::int64_t first, std::int64_t count,
                        const torch::Tensor& buffer) {
  const auto piece = buffer.narrow(0, 0, matrix.size(0) * count).view({matrix.size(0), count});
  return piece.copy_(matrix.narrow(1, first, count));
}

/// left (M x n) times the transpose of right (K x n), double.
torch::Tensor product_with_transpose(const torch::Tensor& left, const torch::Tensor& right) {
  // For few rows M matrix-vector products are faster than OpenBLAS's matrix product.
  constexpr std::int64_t kFewRows = 4;
  const std::int64_t rows = left.size(0);
  const std::int64_t width = piece_width(rows + right.size(0), left);
  const auto wide = left.options().dtype(torch::kFloat64);
  auto product = torch::zeros({rows, right.size(0)}, wide);
  const auto left_buffer = torch::empty({rows * width}, wide);
  const auto right_buffer = torch::empty({right.size(0) * width}, wide);
  for (std::int64_t first = 0; first < left.size(1); first += width) {
    const std::int64_t count = std::min(width, left.size(1) - first);
    const auto a = converted(left, first, count, left_buffer);
    const auto b = converted(right, first, count, right_buffer);
    if (rows > kFewRows || !left.is_cpu()) {
      product.addmm_(a, b.t());
      continue;
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      product.select(0, row).addmv_(b, a.select(0, row));
    }
  }
  return product;
}

/// Double.
torch::Tensor row_sums(const torch::Tensor& values) {
  const std::int64_t width = piece_width(values.size(0), values);
  const auto wide = values.options().dtype(torch::kFloat64);
  auto sums = torch::zeros({values.size(0)}, wide);
  const auto buffer = torch::empty({values.size(0) * width}, wide);
  for (std::int64_t first = 0; first < values.size(1); first += width) {
    const std::int64_t count = std::min(width, values.size(1) - first);
    sums.add_(converted(values, first, count, buffer).sum(1));
  }
  return sums;
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
    const auto matrix = weight.view({weight.size(0), -1}).to(images.scalar_type());
    auto output = at::addmm(as_column(bias).to(images.scalar_type()), matrix, patches)
                      .view({weight.size(0), geometry.output_height(), geometry.output_width(),
                             images.size(3)});
    if (relu) {
      output.relu_();
    }
    context->save_for_backward({patches, matrix, relu ? output : torch::Tensor()});
    context->saved_data["shape"] = images.sizes().vec();
    context->saved_data["weight_shape"] = weight.sizes().vec();
    context->saved_data["output_shape"] = output.sizes().vec();
    context->saved_data["needs_images"] = needs_images;
    return output;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto saved = context->get_saved_variables();
    const WithoutAutograd guard;
    const auto& patches = saved[0];
    const auto& matrix = saved[1];
    const auto weight_shape = context->saved_data["weight_shape"].toIntVector();
    auto gradient =
        torch::empty(context->saved_data["output_shape"].toIntVector(), matrix.options());
    if (saved[2].defined()) {
      at::threshold_backward_out(gradient, gradients[0], saved[2], 0);
    } else {
      gradient.copy_(gradients[0]);
    }
    gradient = gradient.view({matrix.size(0), patches.size(1)});
    torch::Tensor images_gradient;
    if (context->saved_data["needs_images"].toBool()) {
      const PatchGeometry geometry(context->saved_data["shape"].toIntVector(), weight_shape[2]);
      images_gradient = geometry.scatter(at::mm(matrix.t(), gradient));
    }
    return {images_gradient, product_with_transpose(gradient, patches).view(weight_shape),
            row_sums(gradient), torch::Tensor()};
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
    const auto matrix = weight.view({weight.size(0), -1}).to(images.scalar_type());
    const auto input = images.reshape({weight.size(0), geometry.patches()});
    // The sum crops the scatter buffer's view into a contiguous image on the way.
    auto output = torch::empty({weight.size(1), height, width, images.size(3)}, images.options());
    at::add_out(output, geometry.scatter(at::mm(matrix.t(), input)),
                bias.view({-1, 1, 1, 1}).to(images.scalar_type()));
    if (relu) {
      output.relu_();
    }
    context->save_for_backward({input, matrix, relu ? output : torch::Tensor()});
    context->saved_data["shape"] = images.sizes().vec();
    context->saved_data["weight_shape"] = weight.sizes().vec();
    context->saved_data["needs_images"] = needs_images;
    return output;
  }

  static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
    const auto saved = context->get_saved_variables();
    const WithoutAutograd guard;
    const auto& input = saved[0];
    const auto& matrix = saved[1];
    const auto weight_shape = context->saved_data["weight_shape"].toIntVector();
    const PatchGeometry geometry(gradients[0].sizes(), weight_shape[2]);
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
    return {images_gradient,
            product_with_transpose(input, patches).view(weight_shape),
            row_sums(padded.flatten(1)),
            torch::Tensor(),
            torch::Tensor(),
            torch::Tensor()};
  }
};

}  // namespace

SamePadding same_padding(std::int64_t input, std::int64_t kernel) {
  const auto output = (input + 1) / 2;
  const auto total = std::max<std::int64_t>((output - 1) * 2 + kernel - input, 0);
  return {output, total / 2, total - total / 2};
}

SamePaddingConvolution::SamePaddingConvolution(std::int64_t in_channels, std::int64_t out_channels,
                                               std::int64_t kernel, bool relu)
    : weight_(register_parameter(
          "weight", torch::zeros({out_channels, in_channels, kernel, kernel}, torch::kFloat64))),
      bias_(register_parameter("bias", torch::zeros(out_channels, torch::kFloat64))),
      relu_(relu) {}

torch::Tensor SamePaddingConvolution::forward(const torch::Tensor& images) {
  return ConvolutionFunction::apply(images, weight_, bias_, relu_);
}

SamePaddingTransposedConvolution::SamePaddingTransposedConvolution(std::int64_t in_channels,
                                                                   std::int64_t out_channels,
                                                                   std::int64_t kernel, bool relu)
    : weight_(register_parameter(
          "weight", torch::zeros({in_channels, out_channels, kernel, kernel}, torch::kFloat64))),
      bias_(register_parameter("bias", torch::zeros(out_channels, torch::kFloat64))),
      relu_(relu) {}

torch::Tensor SamePaddingTransposedConvolution::forward(const torch::Tensor& images,
                                                        std::int64_t height, std::int64_t width) {
  return TransposedConvolutionFunction::apply(images, weight_, bias_, relu_, height, width);
}

}  // namespace eigenscale
