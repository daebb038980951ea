#include "eigenscale/nn/autoencoder.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/random.h"

namespace eigenscale {
namespace {

std::string numbered(const char* name, std::size_t index) {
  return name + std::to_string(index + 1);
}

torch::nn::Linear make_linear(std::int64_t in, std::int64_t out, torch::ScalarType precision) {
  torch::nn::Linear layer(in, out);
  layer->to(precision);
  return layer;
}

// relu(W x + b) with samples as columns; the last layer stays linear.
torch::Tensor apply_layers(const std::vector<torch::nn::Linear>& layers, torch::Tensor columns) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    columns = torch::addmm(layers[i]->bias.view({-1, 1}), layers[i]->weight, columns);
    if (i + 1 < layers.size()) {
      columns = columns.relu();
    }
  }
  return columns;
}

void initialize(const std::string& name, const torch::Tensor& parameter, std::uint64_t seed,
                std::int64_t attempt) {
  torch::NoGradGuard no_grad;
  if (parameter.dim() == 1) {
    parameter.zero_();
    return;
  }
  const auto receptive_field = parameter[0][0].numel();
  const auto fans = (parameter.size(0) + parameter.size(1)) * receptive_field;
  const double limit = std::sqrt(6.0 / static_cast<double>(fans));
  const CounterRandom random(seed, attempt == 0 ? name : name + "#" + std::to_string(attempt));
  auto values = torch::empty(parameter.sizes(), torch::kFloat64);
  auto* data = values.data_ptr<double>();
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    data[i] = limit * (2 * random.uniform(static_cast<std::uint64_t>(i)) - 1);
  }
  parameter.copy_(values);
}

}  // namespace

EncoderKind parse_encoder_kind(const std::string& text) {
  if (text == "none") {
    return EncoderKind::kNone;
  }
  if (text == "conv") {
    return EncoderKind::kConvolution;
  }
  if (text == "mlp") {
    return EncoderKind::kPerceptron;
  }
  throw OptionError("the encoder is '" + text + "'; expected none, conv or mlp");
}

void check_specification(const AutoencoderSpecification& specification) {
  if (specification.features < 1) {
    throw InputError("samples have " + std::to_string(specification.features) +
                     " features; expected at least 1");
  }
  if (specification.kind == EncoderKind::kPerceptron) {
    if (specification.widths.empty()) {
      throw OptionError("an mlp encoder needs at least one layer width");
    }
    for (const auto width : specification.widths) {
      if (width < 1) {
        throw OptionError("an mlp encoder's layer has width " + std::to_string(width) +
                          "; expected at least 1");
      }
    }
  }
  if (specification.kind != EncoderKind::kConvolution) {
    return;
  }
  if (specification.channels.empty() ||
      specification.channels.size() != specification.kernels.size()) {
    throw OptionError("a conv encoder has " + std::to_string(specification.channels.size()) +
                      " channel numbers and " + std::to_string(specification.kernels.size()) +
                      " kernel sizes; expected as many of each, at least one");
  }
  for (const auto channels : specification.channels) {
    if (channels < 1) {
      throw OptionError("a conv encoder's layer has " + std::to_string(channels) +
                        " channels; expected at least 1");
    }
  }
  for (const auto kernel : specification.kernels) {
    if (kernel < 1 || kernel % 2 == 0) {
      throw OptionError("a conv encoder's layer has kernel size " + std::to_string(kernel) +
                        "; expected an odd number");
    }
  }
  const auto [channels, height, width] = specification.image_shape;
  const auto text =
      std::to_string(channels) + "x" + std::to_string(height) + "x" + std::to_string(width);
  if (channels < 1 || height < 1 || width < 1) {
    throw OptionError("a conv encoder needs the image shape channels x height x width; got " +
                      text);
  }
  if (channels * height * width != specification.features) {
    throw InputError("the image shape " + text + " has " +
                     std::to_string(channels * height * width) + " values, but samples have " +
                     std::to_string(specification.features) + " features");
  }
}

Autoencoder::Autoencoder(const AutoencoderSpecification& specification, torch::ScalarType precision,
                         std::uint64_t seed, std::int64_t attempt)
    : specification_(specification), precision_(precision), latent_size_(specification.features) {
  check_specification(specification);
  if (specification.kind == EncoderKind::kConvolution) {
    add_convolutions();
  } else if (specification.kind == EncoderKind::kPerceptron) {
    add_perceptron(precision);
  }
  for (const auto& parameter : torch::nn::Module::named_parameters()) {
    initialize(parameter.key(), parameter.value(), seed, attempt);
  }
}

void Autoencoder::add_convolutions() {
  const auto& widths = specification_.channels;
  auto [channels, height, width] = specification_.image_shape;
  image_sizes_.push_back({height, width});
  auto encoder = std::make_shared<torch::nn::Module>();
  auto decoder = std::make_shared<torch::nn::Module>();
  register_module("encoder", encoder);
  register_module("decoder", decoder);
  for (std::size_t i = 0; i < widths.size(); ++i) {
    convolutions_.push_back(encoder->register_module(
        numbered("conv", i),
        std::make_shared<SamePaddingConvolution>(
            i == 0 ? channels : widths[i - 1], widths[i], specification_.kernels[i],
            i + 1 < widths.size() || !specification_.linear_latents)));
    image_sizes_.push_back({(image_sizes_.back()[0] + 1) / 2, (image_sizes_.back()[1] + 1) / 2});
  }
  for (std::size_t i = 0; i < widths.size(); ++i) {
    const auto mirror = widths.size() - 1 - i;
    transposed_convolutions_.push_back(decoder->register_module(
        numbered("deconv", i), std::make_shared<SamePaddingTransposedConvolution>(
                                   widths[mirror], mirror == 0 ? channels : widths[mirror - 1],
                                   specification_.kernels[mirror], true)));
  }
  latent_size_ = widths.back() * image_sizes_.back()[0] * image_sizes_.back()[1];
}

void Autoencoder::add_perceptron(torch::ScalarType precision) {
  auto widths = specification_.widths;
  widths.insert(widths.begin(), specification_.features);
  auto encoder = std::make_shared<torch::nn::Module>();
  auto decoder = std::make_shared<torch::nn::Module>();
  register_module("encoder", encoder);
  register_module("decoder", decoder);
  const auto layers = widths.size() - 1;
  for (std::size_t i = 0; i < layers; ++i) {
    encoder_layers_.push_back(encoder->register_module(
        numbered("linear", i), make_linear(widths[i], widths[i + 1], precision)));
  }
  for (std::size_t i = 0; i < layers; ++i) {
    decoder_layers_.push_back(decoder->register_module(
        numbered("linear", i), make_linear(widths[layers - i], widths[layers - i - 1], precision)));
  }
  latent_size_ = widths.back();
}

torch::Tensor Autoencoder::encode(const torch::Tensor& rows) {
  if (specification_.kind == EncoderKind::kNone) {
    return rows.contiguous();
  }
  return encode_columns(rows.t().contiguous()).t().contiguous();
}

torch::Tensor Autoencoder::decode(const torch::Tensor& latent) {
  if (specification_.kind == EncoderKind::kNone) {
    return latent.contiguous();
  }
  return decode_columns(latent.t().contiguous()).t().contiguous();
}

torch::Tensor Autoencoder::encode_columns(const torch::Tensor& columns) {
  if (specification_.kind != EncoderKind::kConvolution) {
    return apply_layers(encoder_layers_, columns);
  }
  const auto samples = columns.size(1);
  const auto [channels, height, width] = specification_.image_shape;
  auto images = columns.reshape({channels, height, width, samples});
  for (const auto& layer : convolutions_) {
    images = layer->forward(images);
  }
  return images.view({latent_size_, samples});
}

torch::Tensor Autoencoder::decode_columns(const torch::Tensor& latent) {
  if (specification_.kind != EncoderKind::kConvolution) {
    return apply_layers(decoder_layers_, latent);
  }
  const auto samples = latent.size(1);
  const auto layers = transposed_convolutions_.size();
  const auto [height, width] = image_sizes_.back();
  auto images = latent.reshape({specification_.channels.back(), height, width, samples});
  for (std::size_t i = 0; i < layers; ++i) {
    const auto [target_height, target_width] = image_sizes_[layers - 1 - i];
    images = transposed_convolutions_[i]->forward(images, target_height, target_width);
  }
  return images.view({specification_.features, samples});
}

std::shared_ptr<Autoencoder> autoencoder_at(const Placement& placement,
                                            const std::shared_ptr<Autoencoder>& autoencoder) {
  if (!placement.on_device()) {
    return autoencoder;
  }
  auto result =
      std::make_shared<Autoencoder>(autoencoder->specification(), autoencoder->precision(), 0);
  const auto from = autoencoder->parameters();
  auto to = result->parameters();
  for (std::size_t i = 0; i < to.size(); ++i) {
    to[i].set_data(placement.to_device(from[i].detach(), "encoder"));
  }
  return result;
}

void bring_weights(const Placement& placement, const Autoencoder& autoencoder, Autoencoder& host) {
  if (&autoencoder == &host) {
    return;
  }
  const torch::NoGradGuard no_grad;
  const auto from = autoencoder.parameters();
  auto to = host.parameters();
  for (std::size_t i = 0; i < to.size(); ++i) {
    to[i].copy_(placement.to_host(from[i], "encoder"));
  }
}

}  // namespace eigenscale
