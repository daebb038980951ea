#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "eigenscale/nn/named_networks.h"
#include "eigenscale/nn/network.h"
#include "eigenscale/train/trainer.h"
#include "support/mpi_test.h"

namespace eigenscale::test {

/// 90 noisy 1 x 8 x 8 images of lines, columns and a chess board, this rank's block of them.
inline LabelledSamples three_textures(const Communicator& communicator) {
  torch::manual_seed(5);
  constexpr std::int64_t kCount = 90;
  const auto line = torch::arange(8, torch::kFloat64).unsqueeze(1).expand({8, 8});
  const std::vector<torch::Tensor> textures = {line.fmod(2), line.t().fmod(2),
                                               (line + line.t()).fmod(2)};
  auto rows = 0.5 * torch::randn({kCount, 1, 8, 8}, torch::kFloat64);
  auto labels = torch::empty({kCount}, torch::kInt64);
  for (std::int64_t i = 0; i < kCount; ++i) {
    labels[i] = i % 3;
    rows[i][0].add_(textures[i % 3]);
  }
  const RowPartition partition(kCount, communicator.size());
  const auto own = partition.range(communicator.rank());
  return {partition,
          rows.narrow(0, own.begin, own.size()).contiguous(),
          labels.narrow(0, own.begin, own.size()).contiguous(),
          {1, 8, 8},
          "textures",
          "classes"};
}

/// A run whose batches of 20 do not divide 90: the last one of an epoch has 10.
inline TrainerOptions small_run() {
  TrainerOptions options;
  options.epochs = 4;
  options.batches.batch_size = 20;
  options.optimizer.kind = OptimizerOptions::Kind::kSgd;
  options.learning_rate.base = 0.05;
  options.log_every = 1;
  return options;
}

inline nlohmann::json small_network(const std::string& name = "cnn:6,8",
                                    const nlohmann::json& normalization = {{"kind", "batch"}}) {
  return named_network(name, {.input = {1, 8, 8}, .classes = 3, .normalization = normalization});
}

/// [collective] What a run leaves behind.
struct Trained {
  std::vector<double> losses;
  NamedTensors model;
};

inline NamedTensors copy_of(const torch::nn::Module& module) {
  auto tensors = named_parameters(module);
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.detach().clone();
  }
  return tensors;
}

inline Trained train(const Communicator& communicator, const TrainerOptions& options,
                     const nlohmann::json& specification,
                     torch::ScalarType precision = torch::kFloat64) {
  const auto samples = three_textures(communicator);
  Network network(communicator, specification, precision, 3);
  Trainer trainer(communicator, network, samples, &samples, options);
  Trained result;
  TrainingEvents events;
  events.step = [&](const StepReport& step) { result.losses.push_back(step.loss); };
  trainer.run(events);
  result.model = copy_of(network);
  return result;
}

/// [local] This rank alone.
inline std::unique_ptr<Communicator> alone() { return world().split(world().rank(), 0); }

/// The largest difference of a tensor, relative to that tensor's largest entry (or to 1).
inline double difference(const NamedTensors& a, const NamedTensors& b) {
  double largest = 0;
  for (const auto& [name, tensor] : a) {
    const auto other = b.at(name).to(torch::kFloat64);
    largest = std::max(largest, (tensor.to(torch::kFloat64) - other).abs().max().item<double>() /
                                    std::max(1.0, other.abs().max().item<double>()));
  }
  return largest;
}

inline bool identical(const NamedTensors& a, const NamedTensors& b) {
  return a.size() == b.size() && std::ranges::all_of(a, [&](const auto& entry) {
           return torch::equal(entry.second, b.at(entry.first));
         });
}

}  // namespace eigenscale::test
