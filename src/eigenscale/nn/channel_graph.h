#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace eigenscale {

/// A layer as its specification and its parameters know it.
struct LayerPlace {
  std::string path;                    ///< of its tensors: layers.residual1.conv2
  nlohmann::json::json_pointer where;  ///< of its object in the specification
  /// Values of the layer's input (of a normalisation: of its channels) that one channel makes: more
  /// than one behind a flatten, next to each other.
  std::int64_t per_channel = 1;
};

/// Channels of a network that live and die together: one neuron each, with all that makes it and
/// all that reads it. Where a residual block adds two streams, their channels are one.
struct ChannelSpace {
  std::int64_t channels = 0;
  std::vector<LayerPlace> producers;  ///< convolutions and linear layers: rows of their weights
  std::vector<LayerPlace> normalizations;
  std::vector<LayerPlace> consumers;  ///< columns of their weights
  /// The network's input or output, or mixed by a whitening layer: channels cannot go one by one.
  bool fixed = false;

  /// The name of its first producer.
  std::string name() const;
};

/// [local] The channel spaces of a completed specification, in the order of their first layers.
std::vector<ChannelSpace> channel_spaces(const nlohmann::json& specification);

}  // namespace eigenscale
