// Trains a module of one's own on all ranks: mpirun -np 4 train_own_module
#include <iostream>

#include "eigenscale/comm/environment.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/train/data_parallel_step.h"

struct Classifier : torch::nn::Module {
  torch::Tensor forward(const torch::Tensor& x) { return last->forward(first->forward(x).tanh()); }
  torch::nn::Linear first = register_module("first", torch::nn::Linear(2, 32));
  torch::nn::Linear last = register_module("last", torch::nn::Linear(32, 2));
};

int main(int argc, char** argv) {
  return eigenscale::run_program(
      argc, argv, [](const eigenscale::Communicator& world, int, char**) {
        torch::manual_seed(1);
        Classifier network;
        eigenscale::DataParallelStep step(world, network, {.adam = {.learning_rate = 0.03}});
        const auto own = eigenscale::RowPartition(500, world.size()).range(world.rank());
        double loss = 0;
        for (int i = 0; i < 200; ++i) {
          const auto points = torch::rand({500, 2}) * 2 - 1;  // inside or outside of a circle?
          const auto x = points.narrow(0, own.begin, own.size());
          const auto y = (x.square().sum(1) < 0.6).to(torch::kInt64);
          loss = step.step([&] {
            const auto sum = torch::nn::functional::cross_entropy(
                network.forward(x), y,
                torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum));
            step.last_backward();  // its gradients leave while it runs
            (sum / 500).backward();
            return sum.item<double>() / 500;
          });
        }
        if (world.rank() == 0) std::cout << "loss " << loss << std::endl;
        return 0;
      });
}
