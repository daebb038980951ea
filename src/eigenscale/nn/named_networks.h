#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace eigenscale {

/// What a named network is made for.
struct NamedNetworkOptions {
  /// Shape of one sample; a vector, height x width, or channels x height x width.
  std::vector<std::int64_t> input;
  std::int64_t classes = 2;
  /// Keys of the first normalization (its kind, groups, ...). The others are batch normalisation:
  /// whitening belongs into the stem (Wang et al., NeurIPS 2019). Null for networks without any.
  nlohmann::json normalization = {{"kind", "batch"}};
};

/// [local] The completed specification (nn/network_specification.h) of
///
///   mlp[:WIDTH,...]       fully connected, ReLU (512,512)
///   cnn[:CHANNELS,...]    3 x 3 convolutions, normalisation, ReLU, average pooling
///                         (32,64,128,128); the second and later ones halve images above 8 pixels
///   lenet                 LeCun et al. (1998) with ReLU and max-pooling
///   resnet18|34|50        He et al. (CVPR 2016); images up to 64 pixels get the small stem of
///   their
///                         CIFAR networks, larger ones that of ImageNet
///
/// OptionError for any other name, InputError for an input the network does not take.
nlohmann::json named_network(const std::string& name, const NamedNetworkOptions& options);

}  // namespace eigenscale
