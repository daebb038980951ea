#include "eigenscale/nn/channel_graph.h"

#include <algorithm>

namespace eigenscale {
namespace {

using Json = nlohmann::json;
using Pointer = Json::json_pointer;

/// What flows between two layers.
struct Stream {
  std::size_t space;
  std::int64_t width;  ///< channels, or values of a vector
};

class Walk {
 public:
  std::vector<ChannelSpace> run(const Json& specification) {
    const std::int64_t input = specification["input"][0];
    auto stream = Stream{new_space(input), input};
    spaces_[0].fixed = true;
    stream = layers(specification["layers"], "layers", Pointer("/layers"), stream);
    spaces_[root(stream.space)].fixed = true;
    std::vector<ChannelSpace> result;
    for (std::size_t i = 0; i < spaces_.size(); ++i) {
      if (parents_[i] == i) {
        result.push_back(std::move(spaces_[i]));
      }
    }
    return result;
  }

 private:
  Stream layers(const Json& list, const std::string& path, const Pointer& where, Stream stream) {
    for (std::size_t i = 0; i < list.size(); ++i) {
      stream = layer(list[i], path, where / i, stream);
    }
    return stream;
  }

  Stream layer(const Json& layer, const std::string& parent, const Pointer& where, Stream stream) {
    const std::string type = layer["type"];
    const auto path = parent + "." + layer.value("name", "");
    auto& space = spaces_[root(stream.space)];
    const auto place = [&](std::int64_t width) {
      return LayerPlace{path, where, width / space.channels};
    };
    if (type == "convolution" || type == "linear") {
      space.consumers.push_back(place(layer["inputs"]));
      const std::int64_t outputs = layer["outputs"];
      const auto made = new_space(outputs);  // `space` may have moved
      spaces_[made].producers.push_back({path, where, 1});
      return {made, outputs};
    }
    if (type == "normalization") {
      space.normalizations.push_back(place(layer["inputs"]));
      space.fixed = space.fixed || layer["kind"] != "batch";
      return {stream.space, layer["inputs"]};
    }
    if (type == "residual") {
      const auto body = layers(layer["body"], path, where / "body", stream);
      const auto shortcut =
          layers(layer["shortcut"], path + "-shortcut", where / "shortcut", stream);
      join(body.space, shortcut.space);
      return {root(body.space), body.width};
    }
    return stream;  // a flatten shows at the next layer, by its inputs
  }

  std::size_t new_space(std::int64_t channels) {
    spaces_.push_back(
        {.channels = channels, .producers = {}, .normalizations = {}, .consumers = {}});
    parents_.push_back(spaces_.size() - 1);
    return spaces_.size() - 1;
  }

  std::size_t root(std::size_t space) const {
    while (parents_[space] != space) {
      space = parents_[space];
    }
    return space;
  }

  void join(std::size_t a, std::size_t b) {
    const auto first = std::min(root(a), root(b));
    const auto second = std::max(root(a), root(b));
    if (first == second) {
      return;
    }
    if (spaces_[first].channels != spaces_[second].channels) {
      // A flattened image added to a vector: one channel is many neurons.
      spaces_[first].fixed = spaces_[second].fixed = true;
      return;
    }
    parents_[second] = first;
    const auto append = [](std::vector<LayerPlace>& to, const std::vector<LayerPlace>& from) {
      to.insert(to.end(), from.begin(), from.end());
    };
    append(spaces_[first].producers, spaces_[second].producers);
    append(spaces_[first].normalizations, spaces_[second].normalizations);
    append(spaces_[first].consumers, spaces_[second].consumers);
    spaces_[first].fixed = spaces_[first].fixed || spaces_[second].fixed;
  }

  std::vector<ChannelSpace> spaces_;
  std::vector<std::size_t> parents_;
};

}  // namespace

std::string ChannelSpace::name() const {
  if (producers.empty()) {
    return "input";
  }
  const auto& path = producers.front().path;
  return path.substr(path.find('.') + 1);
}

std::vector<ChannelSpace> channel_spaces(const Json& specification) {
  return Walk().run(specification);
}

}  // namespace eigenscale
