#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "eigenscale/nn/channel_graph.h"
#include "eigenscale/nn/network.h"

namespace eigenscale {

/// The penalties that training adds to the loss:
///
///   sum_l lambda_l [ (1 - alpha) sqrt(P_l) sum_n ||theta_n||_2 + alpha sum_n ||theta_n||_1 ]
///     + tau sum_l sigma_l ||W_l||_*
///
/// A group theta_n is all that makes one neuron: its incoming weights and bias, and scale and shift
/// of batch normalisation behind it, without which the loss would not depend on the weights' size;
/// neurons that residual additions join are one group. P_l is its size, W_l a layer's weights as
/// outputs x inputs, and sigma_l the largest singular value that such a matrix is expected to start
/// with, so that one tau serves layers of all sizes. The last layer has no penalty, nor have
/// neurons that whitening mixes a group penalty. Groups: Alvarez and Salzmann, NIPS 2016; rank:
/// NIPS 2017.
struct ProximalOptions {
  double group_sparsity = 0;                        ///< lambda
  std::optional<double> group_sparsity_first = {};  ///< of the first three layers with neurons
  /// Lambda of layers whose name matches a pattern (* is any text); the last match counts.
  std::vector<std::pair<std::string, double>> group_sparsity_of = {};
  double sparse_mix = 0;    ///< alpha
  double nuclear_norm = 0;  ///< tau
  /// The exact proximal operator of the sum (Dykstra's iteration) instead of rank first and groups
  /// after, as the paper.
  bool exact = false;
  /// Steps between two applications; 0: at the end of each epoch.
  std::int64_t every = 0;
  /// Matrices whose smaller side is at least this long are decomposed by all ranks together.
  std::int64_t distributed_from = 4096;

  bool any() const;
};

/// A parameter of a group, as channels x values of each.
struct GroupMember {
  torch::Tensor parameter;
  std::optional<std::size_t> matrix;  ///< of the matrices, for weights with a rank penalty
};

/// The neurons of a channel space. Without a penalty (lambda 0) where they cannot be removed.
struct PenalisedGroup {
  ChannelSpace space;
  std::vector<GroupMember> members;
  double lambda = 0;
  double size = 0;  ///< values of a neuron in the initial network
  bool warned = false;
};

/// Weights with a penalty on their rank.
struct PenalisedMatrix {
  std::string name;
  torch::Tensor parameter;
  double tau = 0;  ///< times sigma
  std::optional<std::int64_t> rank;
  bool warned = false;
};

struct Penalties {
  std::vector<PenalisedGroup> groups;
  std::vector<PenalisedMatrix> matrices;
};

/// [local] What the options penalise of a network, whose parameters are shared. `initial` is the
/// specification whose sizes P_l and sigma_l are: where a network has shrunk on the way, the
/// penalty stays that of the whole one. OptionError (agreed) for a pattern that no layer matches.
Penalties collect_penalties(const Network& network, const ProximalOptions& options,
                            const nlohmann::json& initial);

/// [local] The name of a layer in messages: its path without that of the network.
std::string layer_name(const LayerPlace& layer);

}  // namespace eigenscale
