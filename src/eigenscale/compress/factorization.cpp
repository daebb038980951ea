#include "eigenscale/compress/factorization.h"

#include <algorithm>

#include "eigenscale/nn/network_specification.h"

namespace eigenscale {
namespace {

using Json = nlohmann::json;

// Squares of singular values that are rounding of float weights.
constexpr double kRounding = 1e-12;

std::int64_t rank_of_energy(const torch::Tensor& singular, double energy) {
  const auto squares = singular.square();
  const auto held = squares.cumsum(0);
  const double wanted = energy * (1 - kRounding) * squares.sum().item<double>();
  const auto below = (held < wanted).sum().item<std::int64_t>();
  return std::clamp<std::int64_t>(below + 1, 1, singular.size(0));
}

class Factorizer {
 public:
  Factorizer(SavedModel& model, double energy) : model_(model), energy_(energy) {}

  void layers(Json& list, const std::string& path) {
    Json result = Json::array();
    for (auto& layer : list) {
      const std::string type = layer["type"];
      if (type == "residual") {
        const auto own = path + "." + layer["name"].get<std::string>();
        layers(layer["body"], own);
        layers(layer["shortcut"], own + "-shortcut");
      }
      if (type == "convolution" || type == "linear") {
        split(layer, path, result);
      }
      result.push_back(layer);
    }
    list = result;
  }

  std::vector<LayerRank> ranks() && { return std::move(ranks_); }

 private:
  /// `layer` becomes A and B goes to the end of `before`, where that saves.
  void split(Json& layer, const std::string& parent, Json& before) {
    const std::string name = layer["name"];
    const auto path = parent + "." + name;
    const auto weight = model_.tensors.at(path + ".weight").detach();
    const auto matrix = weight.to(torch::kFloat64).flatten(1);
    const auto [left, singular, right] = torch::linalg_svd(matrix, /*full_matrices=*/false);
    const auto rank = rank_of_energy(singular, energy_);
    const auto m = matrix.size(0);
    const auto n = matrix.size(1);
    const bool saves = rank * (m + n) < m * n;
    ranks_.push_back({path.substr(path.find('.') + 1), std::min(m, n), rank, saves});
    if (!saves) {
      return;
    }
    const auto roots = singular.narrow(0, 0, rank).sqrt();
    auto basis_shape = weight.sizes().vec();
    basis_shape[0] = rank;
    std::vector<std::int64_t> coordinates_shape(weight.dim(), 1);
    coordinates_shape[0] = m;
    coordinates_shape[1] = rank;
    // A layer that was factorised before has one.
    std::string basis_name = name + "-basis";
    for (int number = 2; model_.tensors.contains(parent + "." + basis_name + ".weight"); ++number) {
      basis_name = name + "-basis" + std::to_string(number);
    }
    model_.tensors[parent + "." + basis_name + ".weight"] =
        (roots.unsqueeze(1) * right.narrow(0, 0, rank)).view(basis_shape).to(weight.scalar_type());
    model_.tensors[path + ".weight"] = (left.narrow(1, 0, rank) * roots.unsqueeze(0))
                                           .view(coordinates_shape)
                                           .to(weight.scalar_type());
    Json basis = layer;
    basis["name"] = basis_name;
    basis["outputs"] = rank;
    basis["bias"] = false;
    before.push_back(basis);
    layer["inputs"] = rank;
    if (layer["type"] == "convolution") {
      layer["kernel"] = 1;
      layer["stride"] = 1;
      layer["padding"] = 0;
    }
  }

  SavedModel& model_;
  double energy_;
  std::vector<LayerRank> ranks_;
};

}  // namespace

std::vector<LayerRank> factorize(SavedModel& model, double energy) {
  Factorizer factorizer(model, energy);
  factorizer.layers(model.specification["layers"], "layers");
  model.specification.erase("outputs");
  model.specification.erase("multiply_adds");
  model.specification = complete_specification(model.specification, "the factorised network");
  return std::move(factorizer).ranks();
}

}  // namespace eigenscale
