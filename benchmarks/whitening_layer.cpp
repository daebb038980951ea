// Forward and backward of the normalising layers, one thread, against batch normalisation and
// against the speed of the five matrix products that whitening consists of.
//
//   bench_whitening_layer [STEPS]
//
// Input 128 x C x 16 x 16 in single precision, C = 64 and 256. Contenders: ZcaWhitening (one group,
// the matrix-function rule), BatchNormalization, torch::nn::BatchNorm2d, whitening by autograd
// through torch::linalg_eigh, and the five products alone. The contenders take turns, so that a
// busy machine disturbs all alike. As in training, freed memory stays with the process. Run it with
// one OpenBLAS thread: torch's number of threads does not reach OpenBLAS.
//
// Prints JSON lines: median milliseconds after two turns of warm-up, and the medians over turns of
// the ratios.
#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "eigenscale/comm/environment.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/memory.h"
#include "eigenscale/nn/batch_normalization.h"
#include "eigenscale/nn/zca_whitening.h"

namespace {

using namespace eigenscale;

constexpr std::int64_t kWarmUp = 2;
constexpr std::int64_t kBatch = 128;
constexpr std::int64_t kPixels = 16;
constexpr double kEpsilon = 1e-3;

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

struct Contender {
  std::string name;
  std::function<void()> step;
  std::vector<double> seconds = {};
};

/// What one writes with libtorch: the gradient goes through the eigenvectors.
torch::Tensor whiten_by_autograd(const torch::Tensor& input, const torch::Tensor& scale,
                                 const torch::Tensor& shift) {
  const auto columns = input.transpose(0, 1).flatten(1);
  const auto centred = columns - columns.mean(1, true);
  const auto covariance = centred.matmul(centred.t()) / static_cast<double>(columns.size(1));
  const auto [values, vectors] =
      torch::linalg_eigh(covariance + kEpsilon * torch::eye(columns.size(0)), "L");
  const auto white = (vectors * values.rsqrt()).matmul(vectors.t()).matmul(centred);
  return (white * scale.unsqueeze(1) + shift.unsqueeze(1))
      .view({input.size(1), input.size(0), input.size(2), input.size(3)})
      .transpose(0, 1)
      .contiguous();
}

/// X X^T, W X, G X^T, W G and S X for X and G of C x M.
void five_products(const torch::Tensor& x, const torch::Tensor& g, const torch::Tensor& w) {
  torch::mm(x, x.t());
  torch::mm(w, x);
  torch::mm(g, x.t());
  torch::mm(w, g);
  torch::mm(w, x);
}

std::vector<Contender> contenders(const Communicator& world, std::int64_t channels) {
  torch::manual_seed(1);
  const auto mixing = torch::randn({channels, channels}) / std::sqrt(channels);
  const auto input =
      torch::randn({kBatch, kPixels, kPixels, channels}).matmul(mixing).permute({0, 3, 1, 2});
  const auto x = input.contiguous().requires_grad_(true);
  const auto gradient = torch::randn_like(x.detach());
  const auto columns = x.detach().transpose(0, 1).reshape({channels, -1});
  const auto gradient_columns = gradient.transpose(0, 1).reshape({channels, -1});
  const auto options = NormalizationOptions{.channels = channels, .epsilon = kEpsilon};
  const auto zca = std::make_shared<ZcaWhitening>(world, options);
  const auto batch = std::make_shared<BatchNormalization>(world, options);
  torch::nn::BatchNorm2d plain(torch::nn::BatchNorm2dOptions(channels).eps(kEpsilon));
  const auto scale = torch::ones({channels}).requires_grad_(true);
  const auto shift = torch::zeros({channels}).requires_grad_(true);
  const auto both_ways = [x, gradient](const std::function<torch::Tensor()>& forward) {
    forward().backward(gradient);
    x.mutable_grad().reset();
  };
  return {
      {"ZcaWhitening", [=] { both_ways([&] { return zca->forward(x); }); }},
      {"BatchNormalization", [=] { both_ways([&] { return batch->forward(x); }); }},
      {"torch::nn::BatchNorm2d", [=]() mutable { both_ways([&] { return plain->forward(x); }); }},
      {"autograd through linalg_eigh",
       [=] { both_ways([&] { return whiten_by_autograd(x, scale, shift); }); }},
      {"five products", [=] { five_products(columns, gradient_columns, mixing); }},
  };
}

int bench_main(const Communicator& world, int argc, char** argv) {
  const std::int64_t steps = argc > 1 ? std::atoll(argv[1]) : 21;
  torch::set_num_threads(1);
  keep_freed_memory();
  for (const std::int64_t channels : {64, 256}) {
    auto all = contenders(world, channels);
    for (std::int64_t turn = 0; turn < kWarmUp + steps; ++turn) {
      for (auto& contender : all) {
        const double begin = now_seconds();
        contender.step();
        if (turn >= kWarmUp) {
          contender.seconds.push_back(now_seconds() - begin);
        }
      }
    }
    nlohmann::json line = {{"suite", "whitening layer"}, {"channels", channels}};
    for (const auto& contender : all) {
      line["milliseconds"][contender.name] = 1e3 * median(contender.seconds);
    }
    const auto& zca = all.front().seconds;
    for (const auto& contender : all) {
      std::vector<double> ratios;
      for (std::size_t turn = 0; turn < zca.size(); ++turn) {
        ratios.push_back(zca[turn] / contender.seconds[turn]);
      }
      line["ZcaWhitening / this"][contender.name] = median(ratios);
    }
    std::cout << line.dump() << std::endl;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) { return eigenscale::run_program(argc, argv, bench_main); }
