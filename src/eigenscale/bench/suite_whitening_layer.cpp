#include <cmath>

#include "eigenscale/bench/suites.h"
#include "eigenscale/core/memory.h"
#include "eigenscale/nn/batch_normalization.h"
#include "eigenscale/nn/zca_whitening.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kLayerBatch = 128;
constexpr std::int64_t kLayerPixels = 16;
constexpr double kLayerEpsilon = 1e-3;

/// What one writes with libtorch: the gradient goes through the eigenvectors.
torch::Tensor whiten_by_autograd(const torch::Tensor& input, const torch::Tensor& scale,
                                 const torch::Tensor& shift) {
  const auto columns = input.transpose(0, 1).flatten(1);
  const auto centred = columns - columns.mean(1, true);
  const auto covariance = centred.matmul(centred.t()) / static_cast<double>(columns.size(1));
  const auto [values, vectors] =
      torch::linalg_eigh(covariance + kLayerEpsilon * torch::eye(columns.size(0)), "L");
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

std::vector<Contender> whitening_layer_contenders(const Communicator& world,
                                                  const Suite::Size& size) {
  keep_freed_memory();
  const std::int64_t channels = size[0];
  const double products = 10.0 * static_cast<double>(channels * channels) *
                          static_cast<double>(kLayerBatch * kLayerPixels * kLayerPixels) *
                          world.size();
  torch::manual_seed(1);
  const auto mixing = torch::randn({channels, channels}) / std::sqrt(channels);
  const auto input = torch::randn({kLayerBatch, kLayerPixels, kLayerPixels, channels})
                         .matmul(mixing)
                         .permute({0, 3, 1, 2});
  const auto x = input.contiguous().requires_grad_(true);
  const auto gradient = torch::randn_like(x.detach());
  const auto columns = x.detach().transpose(0, 1).reshape({channels, -1});
  const auto gradient_columns = gradient.transpose(0, 1).reshape({channels, -1});
  const auto options = NormalizationOptions{.channels = channels, .epsilon = kLayerEpsilon};
  const auto zca = std::make_shared<ZcaWhitening>(world, options);
  const auto batch = std::make_shared<BatchNormalization>(world, options);
  torch::nn::BatchNorm2d plain(torch::nn::BatchNorm2dOptions(channels).eps(kLayerEpsilon));
  const auto scale = torch::ones({channels}).requires_grad_(true);
  const auto shift = torch::zeros({channels}).requires_grad_(true);
  const auto both_ways = [x, gradient](const std::function<torch::Tensor()>& forward) {
    forward().backward(gradient);
    x.mutable_grad().reset();
  };
  return {
      {.name = "ZcaWhitening",
       .work = [=] { both_ways([&] { return zca->forward(x); }); },
       .flop = products,
       .limit = "five products"},
      {.name = "BatchNormalization", .work = [=] { both_ways([&] { return batch->forward(x); }); }},
      {.name = "torch::nn::BatchNorm2d",
       .work = [=]() mutable { both_ways([&] { return plain->forward(x); }); }},
      {.name = "autograd through linalg_eigh",
       .work = [=] { both_ways([&] { return whiten_by_autograd(x, scale, shift); }); },
       .flop = products,
       .limit = "five products"},
      {.name = "five products",
       .work = [=] { five_products(columns, gradient_columns, mixing); },
       .flop = products},
  };
}

}  // namespace

Suite whitening_layer_suite() {
  return {"whitening-layer",
          "normalising layers on 128 x C x 16 x 16 a rank, forward and backward",
          {"channels"},
          {{64}, {256}},
          whitening_layer_contenders};
}

}  // namespace eigenscale
