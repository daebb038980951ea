// The fine-tuning step of deep subspace clustering against the plain libtorch formulation.
//
//   bench_fine_tuning orl|coil20 [STEPS]          one rank: plain libtorch at 1 and 2 threads,
//   ours,
//                                                 and the sgemm limit of the step's three products
//   mpirun -np P bench_fine_tuning orl|coil20     ours on P ranks
//
// Prints JSON lines: median seconds a step after three steps of warm-up. Random images of the
// preset's shape: time does not depend on what is in them.
#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "eigenscale/cluster/fine_tuning.h"
#include "eigenscale/comm/environment.h"
#include "eigenscale/core/clock.h"

namespace {

using namespace eigenscale;

constexpr std::int64_t kWarmUp = 3;

struct Problem {
  std::string name;
  std::int64_t samples = 0;
  ClusteringSettings settings;
  torch::Tensor images;  // N x 1 x 32 x 32
};

Problem problem(const std::string& name) {
  Problem result{name, name == "orl" ? 400 : 1440, preset(name, name == "orl" ? 40 : 20), {}};
  torch::manual_seed(1);
  result.images = torch::rand({result.samples, 1, 32, 32}) * (name == "orl" ? 255 : 1);
  return result;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

void print(const Communicator& world, const nlohmann::json& line) {
  if (world.rank() == 0) {
    std::cout << line.dump() << std::endl;
  }
}

/// What one writes with libtorch: nn::Conv2d, nn::ConvTranspose2d, one parameter C, optim::Adam.
struct Plain : torch::nn::Module {
  Plain(const ClusteringSettings& settings, std::int64_t samples) {
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

double time_plain(const Problem& problem, int threads, std::int64_t steps) {
  torch::set_num_threads(threads);
  Plain network(problem.settings, problem.samples);
  torch::optim::Adam optimizer(network.parameters(), 1e-3);
  std::vector<double> seconds;
  for (std::int64_t step = 0; step < kWarmUp + steps; ++step) {
    const double begin = now_seconds();
    optimizer.zero_grad();
    network.loss(problem.images, problem.settings).backward();
    optimizer.step();
    seconds.push_back(now_seconds() - begin);
  }
  return median({seconds.begin() + kWarmUp, seconds.end()});
}

double time_ours(const Communicator& world, const Problem& problem, std::int64_t steps) {
  const RowPartition partition(problem.samples, world.size());
  const auto range = partition.range(world.rank());
  const auto columns =
      problem.images.narrow(0, range.begin, range.size()).flatten(1).t().contiguous();
  Autoencoder autoencoder({.kind = EncoderKind::kConvolution,
                           .features = 1024,
                           .channels = problem.settings.channels,
                           .kernels = problem.settings.kernels,
                           .image_shape = {1, 32, 32},
                           .widths = {}},
                          torch::kFloat32, 1);
  const auto [rows, grid_columns] = ProcessGrid::squarest(world.size());
  SelfExpression self_expression(std::make_shared<const ProcessGrid>(world, rows, grid_columns),
                                 partition, torch::kFloat32,
                                 {.norm = CoefficientNorm::kL2,
                                  .weight_coefficient = problem.settings.weight_coefficient,
                                  .initial = problem.settings.initial_coefficient,
                                  .adam = {}});
  auto settings = problem.settings;
  settings.finetune_steps = kWarmUp + steps;
  std::vector<double> seconds;
  double begin = now_seconds();
  fine_tune(world, autoencoder, self_expression, columns, settings, {}, [&](const FineTuningStep&) {
    const double end = now_seconds();
    seconds.push_back(end - begin);
    begin = end;
    return true;
  });
  return median({seconds.begin() + kWarmUp, seconds.end()});
}

/// The three products with C at the speed of sgemm on as many threads as OpenBLAS has.
double sgemm_limit(const Problem& problem, std::int64_t latent) {
  const auto c = torch::rand({problem.samples, problem.samples});
  const auto z = torch::rand({problem.samples, latent});
  std::vector<double> seconds;
  for (int repeat = 0; repeat < 8; ++repeat) {
    const double begin = now_seconds();
    torch::mm(c, z);
    seconds.push_back(3 * (now_seconds() - begin));
  }
  return median(seconds);
}

int bench_main(const Communicator& world, int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "orl";
  const std::int64_t steps = argc > 2 ? std::atoll(argv[2]) : 20;
  const auto data = problem(name);
  const std::int64_t latent = name == "orl" ? 80 : 3840;
  if (world.size() == 1) {
    for (const int threads : {1, 2}) {
      print(world, {{"suite", "fine-tuning"},
                    {"problem", name},
                    {"contender", "libtorch"},
                    {"threads", threads},
                    {"seconds", time_plain(data, threads, steps)}});
    }
    torch::set_num_threads(1);
    print(world, {{"suite", "fine-tuning"},
                  {"problem", name},
                  {"contender", "sgemm limit"},
                  {"seconds", sgemm_limit(data, latent)}});
  }
  print(world, {{"suite", "fine-tuning"},
                {"problem", name},
                {"contender", "eigenscale"},
                {"ranks", world.size()},
                {"threads", torch::get_num_threads()},
                {"seconds", time_ours(world, data, steps)}});
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return eigenscale::run_program(argc, argv, bench_main); }
