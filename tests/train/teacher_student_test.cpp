#include <cmath>

#include "eigenscale/nn/network_specification.h"
#include "eigenscale/train/data_parallel_step.h"
#include "eigenscale/train/proximal_training.h"
#include "support/mpi_test.h"

namespace eigenscale {
namespace {

using test::world;

/// Full-batch training to the outputs of a teacher.
std::vector<LayerSize> learn(const nlohmann::json& student_specification,
                             const torch::Tensor& inputs, const torch::Tensor& targets,
                             const ProximalOptions& proximal, int steps) {
  Network student(world(), student_specification, torch::kFloat64, 5);
  DataParallelStep step(world(), student, {.kind = OptimizerOptions::Kind::kSgd});
  ProximalTraining training(world(), student, step.optimizer(), proximal, student_specification);
  const RowPartition partition(inputs.size(0), world().size());
  const auto own = partition.range(world().rank());
  for (int i = 0; i < steps; ++i) {
    const double rate = 0.01 * 0.5 * (1 + std::cos(M_PI * i / steps));
    step.zero_gradients();
    if (own.size() > 0) {
      const auto error = student.forward(inputs.narrow(0, own.begin, own.size())) -
                         targets.narrow(0, own.begin, own.size());
      (error.square().sum() / static_cast<double>(inputs.size(0))).backward();
    }
    step.reduce();
    step.update(rate);
    training.after_step(rate, true);
  }
  return training.layers();
}

nlohmann::json two_layers(std::int64_t inputs, std::int64_t hidden, std::int64_t outputs) {
  return complete_specification({{"input", {inputs}},
                                 {"layers",
                                  {{{"type", "linear"}, {"outputs", hidden}},
                                   {{"type", "relu"}},
                                   {{"type", "linear"}, {"outputs", outputs}}}}},
                                "test");
}

TEST(TeacherStudentTest, AStudentFindsTheNumberOfItsTeachersNeurons) {
  torch::manual_seed(21);
  const auto inputs = torch::randn({512, 8}, torch::kFloat64);
  Network teacher(world(), two_layers(8, 4, 6), torch::kFloat64, 9);
  const auto targets = teacher.forward(inputs).detach();
  const auto layers =
      learn(two_layers(8, 16, 6), inputs, targets, {.group_sparsity = 1e-2, .every = 1}, 3000);
  EXPECT_EQ(layers[0].live, 4);
}

TEST(TeacherStudentTest, AStudentFindsTheRankOfItsTeacher) {
  torch::manual_seed(22);
  const auto inputs = torch::randn({512, 16}, torch::kFloat64);
  Network teacher(world(), two_layers(16, 16, 8), torch::kFloat64, 9);
  {
    const torch::NoGradGuard no_grad;
    auto weight = teacher.named_parameters()["layers.linear1.weight"];
    weight.copy_(torch::randn({16, 3}, torch::kFloat64).mm(torch::randn({3, 16}, torch::kFloat64)) /
                 4);
  }
  const auto targets = teacher.forward(inputs).detach();
  const auto layers =
      learn(two_layers(16, 16, 8), inputs, targets, {.nuclear_norm = 3e-2, .every = 1}, 3000);
  EXPECT_EQ(layers[0].rank, 3);
}

}  // namespace
}  // namespace eigenscale
