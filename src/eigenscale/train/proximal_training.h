#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eigenscale/comm/placement.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/nn/network.h"
#include "eigenscale/spectral/proximal.h"
#include "eigenscale/train/optimizer.h"
#include "eigenscale/train/penalties.h"

namespace eigenscale {

/// What is left of a layer.
struct LayerSize {
  std::string name;
  std::int64_t neurons = 0;
  std::int64_t live = 0;
  /// As the last threshold on singular values left it (one on single weights may raise it again);
  /// none before the first.
  std::optional<std::int64_t> rank;
};

/// Proximal steps between the optimiser's. The threshold is the penalty times the step sizes since
/// the last application, where the step size of SGD with momentum mu is learning rate / (1 - mu),
/// what a constant gradient moves a weight by; Adam's is the learning rate (a decoupled step). All
/// ranks have the same weights afterwards: each decomposes some of the matrices, dealt out by cost.
/// Neurons that vanish lose their momentum, and weights that read them vanish too; at least one
/// neuron of each layer stays. Borrows what it is given.
class ProximalTraining {
 public:
  /// [collective] Switches weight decay off for what has a penalty. `initial` is the specification
  /// whose sizes P_l and sigma_l are: where a network has shrunk on the way, the penalty stays that
  /// of the whole one. OptionError for a pattern that no layer matches.
  ProximalTraining(const Placement& placement, Network& network, Optimizer& optimizer,
                   const ProximalOptions& options, const nlohmann::json& initial);

  /// [collective] Once after every optimiser step; what is pending acts in the last one.
  /// NumericalError (agreed) for weights that are not finite.
  void after_step(double learning_rate, bool epoch_ends, bool last = false);

  /// [collective] What is pending acts now, for training that ends before its last step.
  void finish();

  /// [local] Whether a neuron is zero that could leave the network.
  bool has_dead_neurons() const;

  /// [local]
  std::vector<LayerSize> layers() const;

  /// Sum of the step sizes and number of steps since the last application; checkpoints keep them.
  double pending() const { return pending_; }
  std::int64_t pending_steps() const { return pending_steps_; }
  void set_pending(double pending, std::int64_t steps);

  /// Called with a sentence when a threshold would have removed a whole layer, once for each.
  std::function<void(const std::string&)> warn = [](const std::string&) {};

 private:
  struct ExactStep {
    torch::Tensor rows;
    std::map<std::size_t, std::int64_t> ranks;  ///< by matrix; 0 where the penalty left none
    double gap = 0;                             ///< share of the largest weight
  };

  void apply(double step);
  void shrink_ranks(double step);
  void shrink_groups(double step);
  void shrink_exactly(double step);
  void put_matrix(PenalisedMatrix& matrix, const LowRankMatrix& low);
  torch::Tensor rows_of(const PenalisedGroup& group) const;
  torch::Tensor put_rows(PenalisedGroup& group, const torch::Tensor& before, torch::Tensor rows);
  void require_finite() const;
  void forget_dead(const PenalisedGroup& group, const torch::Tensor& dead);
  torch::Tensor threshold(const PenalisedGroup& group, const torch::Tensor& rows,
                          double step) const;
  ExactStep exact_threshold(const PenalisedGroup& group, const torch::Tensor& rows,
                            double step) const;
  void note_rank(PenalisedMatrix& matrix, std::int64_t rank);
  /// [collective] Fills `results` by `compute(i)` on the rank that i is dealt to.
  void deal(const std::vector<double>& costs, std::vector<torch::Tensor>& results,
            const std::function<void(std::size_t)>& compute) const;

  Placement placement_;
  const Communicator& world_;  ///< for what is on the host
  Network& network_;
  Optimizer& optimizer_;
  ProximalOptions options_;
  std::vector<PenalisedGroup> groups_;
  std::vector<PenalisedMatrix> matrices_;
  std::shared_ptr<const ProcessGrid> grid_;
  bool warned_of_gap_ = false;
  double pending_ = 0;
  std::int64_t pending_steps_ = 0;
};

}  // namespace eigenscale
