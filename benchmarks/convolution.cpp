// Times one forward and backward pass of the papers' convolutional autoencoders on one thread:
// eigenscale's layers (one product with a patch matrix, batch-last) against libtorch's own
// convolutions on the same network. One JSON line per network, number of images and formulation.
//
//   OPENBLAS_NUM_THREADS=1 bench_convolution [repetitions]

#include <torch/torch.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eigenscale/core/clock.h"
#include "eigenscale/nn/autoencoder.h"
#include "eigenscale/nn/safetensors.h"

namespace {

using namespace eigenscale;

struct Case {
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
torch::Tensor reference_forward(const NamedTensors& parameters, const Case& test,
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

double best_milliseconds(int repetitions, const std::function<void()>& work) {
  work();
  double best = 1e30;
  for (int i = 0; i < repetitions; ++i) {
    const double begin = now_seconds();
    work();
    best = std::min(best, now_seconds() - begin);
  }
  return 1e3 * best;
}

void measure(const Case& test, int repetitions) {
  Autoencoder network(test.specification, torch::kFloat32, 1);
  auto parameters = named_parameters(network);
  for (auto& [name, parameter] : parameters) {
    parameter = parameter.detach().to(torch::kFloat32).requires_grad_(true);
  }
  const auto columns = torch::rand({test.specification.features, test.samples});
  const auto [channels, height, width] = test.specification.image_shape;
  const auto images = columns.t().contiguous().view({test.samples, channels, height, width});
  const auto report = [&](const std::string& formulation, double milliseconds) {
    std::cout << nlohmann::json{{"schema_version", 1},
                                {"benchmark", "convolution"},
                                {"network", test.name},
                                {"samples", test.samples},
                                {"threads", torch::get_num_threads()},
                                {"formulation", formulation},
                                {"milliseconds", milliseconds}}
                     .dump()
              << std::endl;
  };
  report("patch matrix", best_milliseconds(repetitions, [&] {
           network.zero_grad();
           const auto error = network.decode_columns(network.encode_columns(columns)) - columns;
           error.backward(error.detach());
         }));
  report("libtorch", best_milliseconds(repetitions, [&] {
           network.zero_grad();
           const auto error = reference_forward(parameters, test, images) - images;
           error.backward(error.detach());
         }));
}

}  // namespace

int main(int argc, char** argv) {
  torch::set_num_threads(1);
  const int repetitions = argc > 1 ? std::atoi(argv[1]) : 50;
  const auto orl = convolutional({3, 3, 5}, {3, 3, 3}, 32, 32);
  const auto coil20 = convolutional({15}, {3}, 32, 32);
  const auto yale = convolutional({10, 20, 30}, {5, 3, 3}, 48, 42);
  for (const auto& test :
       {Case{"ORL", 400, orl}, Case{"ORL", 200, orl}, Case{"COIL20", 1440, coil20},
        Case{"COIL20", 720, coil20}, Case{"Extended Yale B", 640, yale}}) {
    measure(test, repetitions);
  }
}
