#include <functional>
#include <string>
#include <vector>

#include "eigenscale/core/row_partition.h"
#include "eigenscale/nn/local_buffers.h"
#include "eigenscale/nn/zca_whitening.h"
#include "train/training_test_support.h"

// The ranks of a data-parallel run hold copies of one network. They must stay copies, bit for bit:
// nothing ever brings them together again.

namespace eigenscale {
namespace {

constexpr int kReplicaSteps = 50;

bool same_on_all_ranks(const torch::Tensor& tensor) {
  auto first = tensor.detach().clone();
  test::world().broadcast(first, 0);
  return all_reduce(test::world(), std::int64_t{torch::equal(first, tensor.detach())},
                    ReduceOp::kMin) == 1;
}

void expect_same(const torch::nn::Module& module, const std::string& when) {
  for (const auto& [name, parameter] : module.named_parameters().pairs()) {
    EXPECT_TRUE(same_on_all_ranks(parameter)) << name << ", " << when;
    if (parameter.requires_grad()) {
      ASSERT_TRUE(parameter.grad().defined()) << name << ", " << when;
      EXPECT_TRUE(same_on_all_ranks(parameter.grad())) << "gradient of " << name << ", " << when;
    }
  }
  for (const auto& buffer : shared_buffers(module)) {
    EXPECT_TRUE(same_on_all_ranks(buffer)) << "a buffer, " << when;
  }
}

/// Parameters in an order that has nothing to do with that of their use; one is used twice, one
/// never, one is frozen.
struct Odd : torch::nn::Module {
  Odd() {
    torch::manual_seed(11 + test::world().rank());  // rank 0's must win
    const auto add = [&](const char* name, std::vector<std::int64_t> shape) {
      return register_parameter(name, torch::randn(shape) * 0.2);
    };
    last = add("last", {3, 40});
    unused = add("unused", {33});
    bias = add("bias", {40});
    frozen = add("frozen", {40, 40}).set_requires_grad(false);
    shared = add("shared", {40, 40});
    first = add("first", {40, 24});
  }
  torch::Tensor forward(const torch::Tensor& x) const {
    auto y = (x.matmul(first.t()).tanh().matmul(shared.t()) + bias).tanh();
    y = y.matmul(frozen.t()).tanh().matmul(shared.t());
    return y.matmul(last.t());
  }
  torch::Tensor last, unused, bias, frozen, shared, first;
};

// 1 to 6 rows a step: on four ranks up to three have none, and skip their passes or run empty ones.
TEST(ReplicasTest, StayEqualForAnyModuleAndRaggedBatches) {
  for (const bool with_unused : {true, false}) {
    for (const bool wire : {false, true}) {
      auto module = std::make_shared<Odd>();
      module->unused.set_requires_grad(with_unused);
      GradientReducerOptions reducer{.first_bucket_bytes = 1024, .bucket_bytes = 4096};
      if (wire) {
        reducer.wire_type = torch::kBFloat16;
      }
      DataParallelStep step(test::world(), *module, {.adam = {.learning_rate = 1e-2}}, reducer);
      torch::manual_seed(12);
      for (int s = 0; s < kReplicaSteps; ++s) {
        const std::int64_t count = 1 + (s * 5) % 6;
        const auto all = torch::rand({count, 24});
        const auto own = RowPartition(count, test::world().size()).range(test::world().rank());
        step.step([&] {
          if (own.size() == 0 && s % 2 == 0) {
            return 0.0;
          }
          const auto rows = all.narrow(0, own.begin, own.size());
          // Two passes, the second one armed.
          const auto half = own.size() / 2;
          auto loss = (module->forward(rows.narrow(0, 0, half)) - 1).square().sum();
          loss.backward();
          auto rest = (module->forward(rows.narrow(0, half, own.size() - half)) - 1).square().sum();
          step.last_backward();
          rest.backward();
          return loss.item<double>() + rest.item<double>();
        });
        expect_same(*module, "step " + std::to_string(s));
      }
      if (test::world().size() > 1 && !with_unused) {
        EXPECT_TRUE(step.reducer().order_is_final());
      }
    }
  }
}

/// Whitening whose running covariance is dealt out over ranks.
struct Whitened : torch::nn::Module {
  Whitened() {
    whitening = register_module(
        "whitening",
        std::make_shared<ZcaWhitening>(test::world(),
                                       NormalizationOptions{.channels = 6, .distributed_from = 2}));
    linear = register_module("linear", torch::nn::Linear(6, 3));
  }
  std::shared_ptr<ZcaWhitening> whitening;
  torch::nn::Linear linear = nullptr;
};

TEST(ReplicasTest, BlocksOfADistributedLayerStayTheRanksOwn) {
  torch::manual_seed(5 + test::world().rank());
  auto module = std::make_shared<Whitened>();
  std::vector<torch::Tensor> blocks;
  for (const auto& block : module->whitening->local_buffers()) {
    blocks.push_back(block.clone());
  }
  DataParallelStep step(test::world(), *module, {.adam = {.learning_rate = 1e-2}});
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_TRUE(torch::equal(module->whitening->local_buffers()[i], blocks[i]));
  }
  torch::manual_seed(6);
  for (int s = 0; s < kReplicaSteps; ++s) {
    const std::int64_t count = 2 + s % 9;
    const auto all = torch::randn({count, 6});
    const auto own = RowPartition(count, test::world().size()).range(test::world().rank());
    step.step([&] {
      const auto output =
          module->linear(module->whitening->forward(all.narrow(0, own.begin, own.size())));
      const auto loss = (output - 1).square().sum();
      step.last_backward();
      loss.backward();
      return loss.item<double>();
    });
    expect_same(*module, "step " + std::to_string(s));
  }
}

TEST(ReplicasTest, StayEqualInTheTrainer) {
  struct Case {
    std::string name;
    nlohmann::json layer;
    torch::ScalarType precision = torch::kFloat32;
    std::int64_t batch = 44;  // 44, 44 and 2 of the 90 samples: ranks without any
    std::int64_t micro = 0;
  };
  const std::vector<Case> cases = {
      {"batch normalisation", {{"kind", "batch"}}},
      {"whitening", {{"kind", "zca"}}},
      {"denoising", {{"kind", "pca-denoise"}}},
      {"batches of 2", {{"kind", "batch"}}, torch::kFloat32, 2},
      {"micro-batches", {{"kind", "zca"}}, torch::kFloat32, 44, 11},
      {"bfloat16", {{"kind", "zca"}}, torch::kBFloat16},
  };
  for (const auto& test : cases) {
    auto options = test::small_run();
    options.batches.batch_size = test.batch;
    options.micro_batch = test.micro;
    options.epochs = test.batch == 2 ? 1 : 17;  // 45 and 51 steps
    options.learning_rate.base = 0.01;
    options.reducer.first_bucket_bytes = options.reducer.bucket_bytes = 256;
    const auto samples = test::three_textures(test::world());
    Network network(test::world(), test::small_network("cnn:6,8", test.layer), test.precision, 3);
    Trainer trainer(test::world(), network, samples, nullptr, options);
    TrainingEvents events;
    events.step = [&](const StepReport& step) {
      if (step.step % 5 == 0) {
        expect_same(network, test.name + ", step " + std::to_string(step.step));
      }
    };
    trainer.run(events);
    expect_same(network, test.name + ", at the end");
  }
}

}  // namespace
}  // namespace eigenscale
