#include "eigenscale/bench/suites.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/nn/autoencoder.h"
#include "eigenscale/nn/safetensors.h"

namespace eigenscale {
namespace {

struct ConvolutionCase {
  std::string name;
  std::int64_t samples;
  AutoencoderSpecification specification;
};

AutoencoderSpecification convolutional(std::vector<std::int64_t> channels,
                                       std::vector<std::int64_t> kernels, std::int64_t height,
                                       std::int64_t width) {
  AutoencoderSpecification specification;
  specification.kind = EncoderKind::kConvolution;
  specification.channels = std::move(channels);
  specification.kernels = std::move(kernels);
  specification.image_shape = {1, height, width};
  specification.features = height * width;
  return specification;
}

// The same network by libtorch's convolutions, batch first.
torch::Tensor reference_forward(const NamedTensors& parameters, const ConvolutionCase& test,
                                const torch::Tensor& images) {
  auto hidden = images;
  const auto layers = test.specification.channels.size();
  std::vector<std::pair<std::int64_t, std::int64_t>> sizes;
  for (std::size_t i = 0; i < layers; ++i) {
    const auto name = "encoder.conv" + std::to_string(i + 1);
    const auto kernel = test.specification.kernels[i];
    const auto rows = same_padding(hidden.size(2), kernel);
    const auto columns = same_padding(hidden.size(3), kernel);
    sizes.emplace_back(hidden.size(2), hidden.size(3));
    hidden =
        torch::constant_pad_nd(hidden, {columns.before, columns.after, rows.before, rows.after});
    hidden =
        torch::conv2d(hidden, parameters.at(name + ".weight"), parameters.at(name + ".bias"), 2)
            .relu();
  }
  for (std::size_t i = 0; i < layers; ++i) {
    const auto name = "decoder.deconv" + std::to_string(i + 1);
    const auto kernel = test.specification.kernels[layers - 1 - i];
    const auto [height, width] = sizes[layers - 1 - i];
    const auto rows = same_padding(height, kernel);
    const auto columns = same_padding(width, kernel);
    hidden = torch::conv_transpose2d(hidden, parameters.at(name + ".weight"),
                                     parameters.at(name + ".bias"), 2)
                 .narrow(2, rows.before, height)
                 .narrow(3, columns.before, width)
                 .relu();
  }
  return hidden;
}

/// Every rank the same work: nothing here communicates.
std::vector<Contender> convolution_contenders(const Communicator& world, const Suite::Size& size) {
  const std::vector<AutoencoderSpecification> networks = {
      convolutional({3, 3, 5}, {3, 3, 3}, 32, 32), convolutional({15}, {3}, 32, 32),
      convolutional({10, 20, 30}, {5, 3, 3}, 48, 42)};
  on_all_ranks(world, [&] {
    if (size[0] > std::ssize(networks)) {
      throw OptionError("--size has network " + std::to_string(size[0]) +
                        "; expected 1 (ORL), 2 (COIL20) or 3 (Extended Yale B)");
    }
  });
  const auto test = std::make_shared<ConvolutionCase>();
  *test = {"", size[1], networks[size[0] - 1]};
  const auto network = std::make_shared<Autoencoder>(test->specification, torch::kFloat32, 1);
  auto parameters = named_parameters(*network);
  for (auto& [name, parameter] : parameters) {
    parameter = parameter.detach().to(torch::kFloat32).requires_grad_(true);
  }
  torch::manual_seed(1);
  const auto columns = torch::rand({test->specification.features, test->samples});
  const auto [channels, height, width] = test->specification.image_shape;
  const auto images = columns.t().contiguous().view({test->samples, channels, height, width});
  return {{.name = "patch matrix",
           .work =
               [network, columns] {
                 network->zero_grad();
                 const auto error =
                     network->decode_columns(network->encode_columns(columns)) - columns;
                 error.backward(error.detach());
               }},
          {.name = "libtorch", .work = [parameters, test, images] {
             for (const auto& [name, parameter] : parameters) {
               parameter.mutable_grad().reset();
             }
             const auto error = reference_forward(parameters, *test, images) - images;
             error.backward(error.detach());
           }}};
}

}  // namespace

Suite convolution_suite() {
  return {"convolution",
          "the papers' autoencoders (1 ORL, 2 COIL20, 3 Extended Yale B), forward and backward",
          {"network", "samples"},
          {{1, 400}, {2, 1440}, {3, 640}},
          convolution_contenders};
}

}  // namespace eigenscale
