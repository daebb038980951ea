#include <algorithm>

#include "eigenscale/bench/suites.h"
#include "eigenscale/cluster/fine_tuning.h"
#include "eigenscale/cluster/self_expression.h"
#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/process_grid.h"

namespace eigenscale {
namespace {

struct FineTuningProblem {
  std::string name;
  std::int64_t samples = 0;
  ClusteringSettings settings;
  torch::Tensor images;  // N x 1 x 32 x 32
};

FineTuningProblem fine_tuning_problem(const std::string& name) {
  FineTuningProblem result{
      name, name == "orl" ? 400 : 1440, preset(name, name == "orl" ? 40 : 20), {}};
  torch::manual_seed(1);
  result.images = torch::rand({result.samples, 1, 32, 32}) * (name == "orl" ? 255 : 1);
  return result;
}

/// What one writes with libtorch: nn::Conv2d, nn::ConvTranspose2d, one parameter C, optim::Adam.
struct PlainClustering : torch::nn::Module {
  PlainClustering(const ClusteringSettings& settings, std::int64_t samples) {
    std::int64_t channels = 1;
    for (std::size_t i = 0; i < settings.channels.size(); ++i) {
      encoder.push_back(register_module(
          "conv" + std::to_string(i),
          torch::nn::Conv2d(
              torch::nn::Conv2dOptions(channels, settings.channels[i], 3).stride(2))));
      decoder.insert(
          decoder.begin(),
          register_module(
              "deconv" + std::to_string(i),
              torch::nn::ConvTranspose2d(
                  torch::nn::ConvTranspose2dOptions(settings.channels[i], channels, 3).stride(2))));
      channels = settings.channels[i];
    }
    coefficients = register_parameter(
        "coefficients", torch::full({samples, samples}, settings.initial_coefficient));
  }

  torch::Tensor loss(const torch::Tensor& images, const ClusteringSettings& settings) {
    auto x = images;
    for (auto& layer : encoder) {
      x = torch::relu(layer(torch::constant_pad_nd(x, {0, 1, 0, 1})));
    }
    const auto shape = x.sizes().vec();
    const auto latent = x.flatten(1);
    const auto expressed = coefficients.matmul(latent);
    x = expressed.reshape(shape);
    for (auto& layer : decoder) {
      x = torch::relu(layer(x));
      x = x.narrow(2, 0, x.size(2) - 1).narrow(3, 0, x.size(3) - 1);
    }
    return settings.weight_reconstruction * (x - images).square().sum() +
           settings.weight_coefficient * coefficients.square().sum() +
           settings.weight_self_expression / 2 * (expressed - latent).square().sum();
  }

  std::vector<torch::nn::Conv2d> encoder;
  std::vector<torch::nn::ConvTranspose2d> decoder;
  torch::Tensor coefficients;
};

std::vector<Contender> fine_tuning_contenders(const Communicator& world, const Suite::Size& size) {
  on_all_ranks(world, [&] {
    if (size[0] != 400 && size[0] != 1440) {
      throw OptionError("--size is " + std::to_string(size[0]) +
                        "; suite fine-tuning has the paper's 400 (ORL) and 1440 (COIL20) samples");
    }
  });
  const auto problem =
      std::make_shared<FineTuningProblem>(fine_tuning_problem(size[0] == 400 ? "orl" : "coil20"));
  const RowPartition partition(problem->samples, world.size());
  const auto range = partition.range(world.rank());
  const auto columns =
      problem->images.narrow(0, range.begin, range.size()).flatten(1).t().contiguous();
  const auto autoencoder =
      std::make_shared<Autoencoder>(AutoencoderSpecification{.kind = EncoderKind::kConvolution,
                                                             .features = 1024,
                                                             .channels = problem->settings.channels,
                                                             .kernels = problem->settings.kernels,
                                                             .image_shape = {1, 32, 32},
                                                             .widths = {}},
                                    torch::kFloat32, 1);
  const auto [rows, grid_columns] = ProcessGrid::squarest(world.size());
  const auto self_expression = std::make_shared<SelfExpression>(
      std::make_shared<const ProcessGrid>(world, rows, grid_columns), partition, torch::kFloat32,
      SelfExpressionOptions{.norm = CoefficientNorm::kL2,
                            .weight_coefficient = problem->settings.weight_coefficient,
                            .initial = problem->settings.initial_coefficient,
                            .adam = {}});
  // The three products with C; the convolutions come on top.
  const double n = static_cast<double>(problem->samples);
  const double flop = 6 * n * n * (size[0] == 400 ? 80.0 : 3840.0);
  std::vector<Contender> contenders = {
      gemm_limit(world, torch::kFloat32),
      // Three steps a call: a step by itself would pay for a new optimiser.
      {.name = "eigenscale, 3 steps",
       .work =
           [&world, problem, autoencoder, self_expression, columns] {
             auto settings = problem->settings;
             settings.finetune_steps = 3;
             fine_tune(world, *autoencoder, *self_expression, columns, settings, {}, {},
                       [](const FineTuningStep&, const FineTuningProgress&) { return true; });
           },
       .flop = 3 * flop,
       .limit = "sgemm"}};
  if (world.size() == 1) {
    const auto network = std::make_shared<PlainClustering>(problem->settings, problem->samples);
    const auto optimizer = std::make_shared<torch::optim::Adam>(network->parameters(),
                                                                torch::optim::AdamOptions(1e-3));
    contenders.push_back({.name = "libtorch, 3 steps",
                          .work =
                              [problem, network, optimizer] {
                                for (int step = 0; step < 3; ++step) {
                                  optimizer->zero_grad();
                                  network->loss(problem->images, problem->settings).backward();
                                  optimizer->step();
                                }
                              },
                          .flop = 3 * flop,
                          .limit = "sgemm"});
  }
  return contenders;
}

}  // namespace

Suite fine_tuning_suite() {
  return {"fine-tuning",
          "the step of deep subspace clustering against the plain libtorch formulation",
          {"samples"},
          {{400}, {1440}},
          fine_tuning_contenders};
}

}  // namespace eigenscale
