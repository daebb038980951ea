#include "eigenscale/bench/suites.h"
#include "eigenscale/core/memory.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/nn/named_networks.h"
#include "eigenscale/nn/network.h"
#include "eigenscale/nn/network_specification.h"
#include "eigenscale/train/data_parallel_step.h"

namespace eigenscale {
namespace {

constexpr std::int64_t kTrainFeatures = 784;
constexpr std::int64_t kTrainClasses = 10;

struct TrainProblem {
  std::shared_ptr<Network> network;
  std::unique_ptr<DataParallelStep> step;
  torch::Tensor rows;  ///< this rank's of the batch
  torch::Tensor labels;
  std::int64_t batch = 0;

  double backward() {
    const auto loss = torch::nn::functional::cross_entropy(
                          network->forward(rows), labels,
                          torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum)) /
                      static_cast<double>(batch);
    step->last_backward();
    loss.backward();
    return loss.item<double>();
  }
};

/// How far the ranks' weights are from each other, and whether a step lowers the loss: it must.
double train_error(const Communicator& world, TrainProblem& problem) {
  const double before = problem.step->step([&] { return problem.backward(); });
  const double after = problem.step->step([&] { return problem.backward(); });
  double sum = 0;
  for (const auto& parameter : problem.network->parameters()) {
    sum += parameter.detach().to(torch::kFloat64).abs().sum().item<double>();
  }
  const double apart =
      all_reduce(world, sum, ReduceOp::kMax) - all_reduce(world, sum, ReduceOp::kMin);
  return after < before ? apart : 1;
}

std::vector<Contender> train_step_contenders(const Communicator& world, const Suite::Size& size) {
  keep_freed_memory();
  const auto problem = std::make_shared<TrainProblem>();
  const auto width = std::to_string(size[1]);
  const auto specification = named_network(
      "mlp:" + width + "," + width,
      {.input = {kTrainFeatures}, .classes = kTrainClasses, .normalization = nullptr});
  problem->network = std::make_shared<Network>(world, specification, torch::kFloat32, 1);
  problem->batch = size[0];
  const auto own = RowPartition(size[0], world.size()).range(world.rank());
  torch::manual_seed(1 + world.rank());
  problem->rows = torch::rand({own.size(), kTrainFeatures});
  problem->labels = torch::randint(kTrainClasses, {own.size()}, torch::kInt64);
  problem->step = std::make_unique<DataParallelStep>(
      world, *problem->network,
      OptimizerOptions{.kind = OptimizerOptions::Kind::kSgd, .adam = {.learning_rate = 1e-3}});
  // Forward, the gradient of the weights, and that of the inputs but the first layer's.
  const double first = 2.0 * static_cast<double>(kTrainFeatures * size[1]);
  const double flop = static_cast<double>(size[0]) *
                      (3.0 * static_cast<double>(specification_flops(specification)) - first);
  return {gemm_limit(world, torch::kFloat32),
          {.name = "step",
           .work = [problem] { problem->step->step([&] { return problem->backward(); }); },
           .flop = flop,
           .bytes = 4.0 * static_cast<double>(problem->network->parameter_count()),
           .limit = "sgemm",
           .error = [&world, problem] { return train_error(world, *problem); },
           .bound = 0},
          {.name = "forward and backward",
           .work =
               [problem] {
                 problem->step->zero_gradients();
                 torch::nn::functional::cross_entropy(problem->network->forward(problem->rows),
                                                      problem->labels)
                     .backward();
               },
           .flop = flop,
           .limit = "sgemm"}};
}

}  // namespace

Suite train_step_suite() {
  return {"train-step",
          "one data-parallel step of a perceptron with two hidden layers",
          {"batch", "width"},
          {{256, 512}, {256, 2048}},
          train_step_contenders};
}

}  // namespace eigenscale
