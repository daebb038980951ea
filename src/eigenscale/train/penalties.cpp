#include "eigenscale/train/penalties.h"

#include <fnmatch.h>

#include <algorithm>
#include <cmath>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

constexpr std::size_t kFirstLayers = 3;  // the paper's choice

bool matches(const std::string& name, const std::string& pattern) {
  return ::fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

/// Incoming weights of one neuron of a convolution or linear layer.
std::int64_t weights_of_neuron(const nlohmann::json& layer) {
  const auto kernel = layer.value("kernel", std::int64_t{1});
  return layer["inputs"].get<std::int64_t>() * kernel * kernel;
}

/// The largest singular value of an m x n matrix of independent normal entries of variance 2 / n
/// (He et al., ICCV 2015), as a layer's weights start, for large m and n.
double expected_norm(const nlohmann::json& layer) {
  const auto m = layer["outputs"].get<double>();
  const auto n = static_cast<double>(weights_of_neuron(layer));
  return std::sqrt(2.0) * (1 + std::sqrt(m / n));
}

void require_matches(const std::vector<ChannelSpace>& spaces, const ProximalOptions& options) {
  for (const auto& [pattern, lambda] : options.group_sparsity_of) {
    const auto named = [&](const LayerPlace& layer) { return matches(layer_name(layer), pattern); };
    if (std::ranges::none_of(spaces, [&](const ChannelSpace& space) {
          return !space.fixed && std::ranges::any_of(space.producers, named);
        })) {
      throw Error(ExitCode::kOptions,
                  "no layer whose neurons can be removed is named '" + pattern +
                      "'; model.json has the names",
                  /*agreed=*/true);
    }
  }
}

/// Of the neurons of a space that is the `place`-th whose neurons may go.
double lambda_of(const ChannelSpace& space, std::size_t place, const ProximalOptions& options) {
  double result = place < kFirstLayers
                      ? options.group_sparsity_first.value_or(options.group_sparsity)
                      : options.group_sparsity;
  for (const auto& [pattern, lambda] : options.group_sparsity_of) {
    for (const auto& producer : space.producers) {
      if (matches(layer_name(producer), pattern)) {
        result = lambda;
      }
    }
  }
  return result;
}

void add_members(PenalisedGroup& group, const LayerPlace& layer, const Network& network,
                 const std::vector<PenalisedMatrix>& matrices) {
  const auto parameters = network.named_parameters();
  for (const char* name : {".weight", ".bias"}) {
    const auto* parameter = parameters.find(layer.path + name);
    if (parameter == nullptr) {
      continue;
    }
    GroupMember member{*parameter, {}};
    for (std::size_t i = 0; i < matrices.size(); ++i) {
      if (matrices[i].parameter.is_same(*parameter)) {
        member.matrix = i;
      }
    }
    group.members.push_back(member);
  }
}

}  // namespace

std::string layer_name(const LayerPlace& layer) {
  return layer.path.substr(layer.path.find('.') + 1);
}

bool ProximalOptions::any() const {
  return group_sparsity > 0 || nuclear_norm > 0 || group_sparsity_first.value_or(0) > 0 ||
         std::ranges::any_of(group_sparsity_of, [](const auto& one) { return one.second > 0; });
}

Penalties collect_penalties(const Network& network, const ProximalOptions& options,
                            const nlohmann::json& initial) {
  const auto spaces = channel_spaces(network.specification());
  require_matches(spaces, options);
  const auto parameters = network.named_parameters();
  Penalties result;
  std::size_t place = 0;
  for (const auto& space : spaces) {
    if (space.producers.empty() || space.consumers.empty()) {
      continue;  // the network's input or output
    }
    PenalisedGroup group{.space = space, .members = {}};
    if (!space.fixed) {
      group.lambda = lambda_of(space, place++, options);
    }
    for (const auto& producer : space.producers) {
      const auto& layer = initial[producer.where];
      const auto weight = parameters[producer.path + ".weight"];
      if (options.nuclear_norm > 0 &&
          std::min(weight.size(0), weight.numel() / weight.size(0)) > 1) {
        result.matrices.push_back(
            {layer_name(producer), weight, options.nuclear_norm * expected_norm(layer), {}});
      }
      group.size += static_cast<double>(weights_of_neuron(layer)) + (layer["bias"] ? 1 : 0);
      add_members(group, producer, network, result.matrices);
    }
    for (const auto& normalization : space.normalizations) {
      group.size += 2.0 * static_cast<double>(normalization.per_channel);
      add_members(group, normalization, network, result.matrices);
    }
    result.groups.push_back(group);
  }
  return result;
}

}  // namespace eigenscale
