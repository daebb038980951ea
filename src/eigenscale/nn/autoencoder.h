#pragma once

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "eigenscale/comm/placement.h"
#include "eigenscale/nn/same_padding_convolution.h"

namespace eigenscale {

enum class EncoderKind { kNone, kConvolution, kPerceptron };
/// [local] "none", "conv" or "mlp"; OptionError otherwise.
EncoderKind parse_encoder_kind(const std::string& text);

/// What an autoencoder is made of.
struct AutoencoderSpecification {
  EncoderKind kind = EncoderKind::kNone;
  /// Features D of one sample; for conv the product of `image_shape`.
  std::int64_t features = 0;
  /// conv: channels of each layer's output, the odd sizes of their kernels, and {C, H, W}.
  std::vector<std::int64_t> channels;
  std::vector<std::int64_t> kernels;
  std::array<std::int64_t, 3> image_shape = {0, 0, 0};
  /// conv: no ReLU on the latents. The paper has one; without it latents may point anywhere.
  bool linear_latents = false;
  /// mlp: widths of the encoder's layers, the latent size last.
  std::vector<std::int64_t> widths;
};

/// [local] Throws OptionError for a specification that contradicts itself, InputError for an image
/// shape that contradicts the number of features.
void check_specification(const AutoencoderSpecification& specification);

/// Encoder n x D -> n x p and its mirrored decoder n x p -> n x D.
///
/// - conv: SamePaddingConvolution layers `encoder.conv1` ..., and mirrored `decoder.deconv1` ...,
///   where deconv1 is applied first; ReLU after every layer, the decoder's last included (Ji et
///   al., NeurIPS 2017), but for the latents where they are linear. Latent features are ordered
///   channel, row, column.
/// - mlp: fully connected `encoder.linear1` ..., mirrored `decoder.linear1` ...; ReLU after every
///   layer but the encoder's and the decoder's last.
/// - none: the identity, without parameters.
///
/// Weights start by Glorot and Bengio (AISTATS 2010), uniform in +-sqrt(6 / (fan_in + fan_out)),
/// biases at zero, as a function of (seed, attempt, parameter name): equal on all ranks.
class Autoencoder : public torch::nn::Module {
 public:
  /// [local] Throws what check_specification throws. `precision`, torch::kFloat32 or kFloat64, is
  /// that of samples and latents and of an mlp's weights; a conv network's are double. `attempt`
  /// numbers the initialisations of one seed.
  Autoencoder(const AutoencoderSpecification& specification, torch::ScalarType precision,
              std::uint64_t seed, std::int64_t attempt = 0);

  /// [local] n x D -> n x p, row-major contiguous.
  torch::Tensor encode(const torch::Tensor& rows);
  /// [local] n x p -> n x D, row-major contiguous.
  torch::Tensor decode(const torch::Tensor& latent);

  /// [local] The same maps on samples as columns, D x n -> p x n and back: the layout the layers
  /// work in, so nothing is transposed.
  torch::Tensor encode_columns(const torch::Tensor& columns);
  torch::Tensor decode_columns(const torch::Tensor& latent);

  std::int64_t latent_size() const { return latent_size_; }
  const AutoencoderSpecification& specification() const { return specification_; }
  torch::ScalarType precision() const { return precision_; }

 private:
  void add_convolutions();
  void add_perceptron(torch::ScalarType precision);

  AutoencoderSpecification specification_;
  torch::ScalarType precision_;
  std::int64_t latent_size_ = 0;
  /// Image sizes {H, W} from the input (first) to the latent (last).
  std::vector<std::array<std::int64_t, 2>> image_sizes_;
  std::vector<std::shared_ptr<SamePaddingConvolution>> convolutions_;
  std::vector<std::shared_ptr<SamePaddingTransposedConvolution>> transposed_convolutions_;
  std::vector<torch::nn::Linear> encoder_layers_;
  std::vector<torch::nn::Linear> decoder_layers_;
};

/// [local] A copy of it where tensors live; itself on the host.
std::shared_ptr<Autoencoder> autoencoder_at(const Placement& placement,
                                            const std::shared_ptr<Autoencoder>& autoencoder);
/// [local] Its weights into `host`, which is of the same specification; nothing when it is itself.
void bring_weights(const Placement& placement, const Autoencoder& autoencoder, Autoencoder& host);

}  // namespace eigenscale
