#include "eigenscale/bench/suites.h"
#include "eigenscale/cluster/self_expression.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/linalg/process_grid.h"

namespace eigenscale {
namespace {

SelfExpression make_self_expression(const std::shared_ptr<const ProcessGrid>& grid,
                                    const RowPartition& partition) {
  return {grid, partition, torch::kFloat32, {.weight_coefficient = 1, .initial = 1e-4, .adam = {}}};
}

/// The first reconstruction from coefficients that are all 1e-4: 1e-4 times the sum of all latents.
double self_expression_error(const Communicator& world, const SelfExpression& layer,
                             const torch::Tensor& latent) {
  const auto sum = latent.sum(1, true, torch::kFloat64);
  world.all_reduce(sum);
  if (latent.size(1) == 0) {
    layer.reconstruct(latent);
    return all_reduce(world, 0.0, ReduceOp::kMax);
  }
  const auto error =
      (layer.reconstruct(latent) - 1e-4 * sum).abs().max() / (1e-4 * sum).abs().max();
  return all_reduce(world, error.item<double>(), ReduceOp::kMax);
}

std::vector<Contender> self_expression_contenders(const Communicator& world,
                                                  const Suite::Size& size) {
  const RowPartition partition(size[0], world.size());
  const auto own = partition.range(world.rank());
  const auto [rows, columns] = ProcessGrid::squarest(world.size());
  const auto grid = std::make_shared<const ProcessGrid>(world, rows, columns);
  const auto layer = std::make_shared<SelfExpression>(make_self_expression(grid, partition));
  torch::manual_seed(1 + world.rank());
  const auto latent = torch::rand({size[1], own.size()});
  const double n = static_cast<double>(size[0]);
  std::vector<Contender> contenders = {
      gemm_limit(world, torch::kFloat32),
      {.name = "SelfExpression",
       .work =
           [layer, latent] {
             const auto difference = layer->reconstruct(latent) - latent;
             layer->backward_and_update(difference, latent);
           },
       .flop = 6 * n * n * static_cast<double>(size[1]),
       .limit = "sgemm",
       .error =
           [&world, grid, partition, latent] {
             return self_expression_error(world, make_self_expression(grid, partition), latent);
           },
       .bound = 1e-4}};
  if (world.size() == 1) {
    struct Plain {
      torch::Tensor coefficients;
      torch::Tensor latent;
      torch::optim::Adam optimizer;
    };
    const auto coefficients = torch::full({size[0], size[0]}, 1e-4).requires_grad_(true);
    const auto rows_of_latent = latent.t().contiguous().requires_grad_(true);
    const auto plain = std::make_shared<Plain>(
        Plain{coefficients, rows_of_latent, torch::optim::Adam({coefficients}, 1e-3)});
    contenders.push_back(
        {.name = "libtorch",
         .work =
             [plain] {
               plain->optimizer.zero_grad();
               const auto& z = plain->latent;
               const auto& c = plain->coefficients;
               ((c.matmul(z) - z).square().sum() / 2 + c.square().sum()).backward();
               plain->optimizer.step();
             },
         .flop = 6 * n * n * static_cast<double>(size[1]),
         .limit = "sgemm"});
  }
  return contenders;
}

}  // namespace

Suite self_expression_suite() {
  return {"self-expression",
          "the layer C Z of all samples, forward, backward and update of C",
          {"samples", "latent"},
          {{400, 80}, {1440, 3840}},
          self_expression_contenders};
}

}  // namespace eigenscale
