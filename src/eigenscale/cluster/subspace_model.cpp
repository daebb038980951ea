#include "eigenscale/cluster/subspace_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "eigenscale/cluster/subspace_assignment.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/nn/safetensors.h"

namespace eigenscale {
namespace {

constexpr const char* kEncoder = "encoder:";
constexpr std::int64_t kBlock = SubspaceAssigner::kBlock;
// Of the format: 2 has a whitening, 3 curves, which a reader of less would leave out.
constexpr int kVersion = 3;
constexpr const char* kCurves[] = {"curves:knots", "curves:values", "curves:slopes"};

int version_of(const SubspaceModel& model) {
  return model.curves.defined() ? 3 : model.whitening.defined() ? 2 : 1;
}

nlohmann::json describe(const AutoencoderSpecification& specification) {
  return {{"kind", specification.kind == EncoderKind::kConvolution ? "conv" : "mlp"},
          {"features", specification.features},
          {"channels", specification.channels},
          {"linear_latents", specification.linear_latents},
          {"kernels", specification.kernels},
          {"image_shape", specification.image_shape},
          {"widths", specification.widths}};
}

AutoencoderSpecification parse_specification(const nlohmann::json& json) {
  AutoencoderSpecification result;
  result.kind = parse_encoder_kind(json.at("kind").get<std::string>());
  json.at("features").get_to(result.features);
  json.at("channels").get_to(result.channels);
  json.at("linear_latents").get_to(result.linear_latents);
  json.at("kernels").get_to(result.kernels);
  json.at("image_shape").get_to(result.image_shape);
  json.at("widths").get_to(result.widths);
  return result;
}

torch::Tensor text_tensor(const std::string& text) {
  auto bytes = torch::empty({static_cast<std::int64_t>(text.size())}, torch::kUInt8);
  std::memcpy(bytes.data_ptr(), text.data(), text.size());
  return bytes;
}

std::string text_of(const torch::Tensor& bytes) {
  return {static_cast<const char*>(bytes.data_ptr()), static_cast<std::size_t>(bytes.numel())};
}

std::int64_t features_of(const RowProvider& rows, const SubspaceModel& model) {
  if (model.encoder) {
    return model.encoder->latent_size();
  }
  return model.directions.defined() ? model.directions.size(1) : rows.features();
}

/// InputError unless the parts of a model fit each other.
void check_model(const SubspaceModel& model, const std::filesystem::path& path) {
  const auto require = [&](bool holds, const std::string& what) {
    if (!holds) {
      throw InputError("'" + path.string() + "' is no valid subspace model: " + what);
    }
  };
  const auto& bases = model.bases;
  require(bases.dim() == 3 && bases.numel() > 0 && bases.is_floating_point(),
          "its bases have another shape than K x d x s");
  require(bases.size(2) < bases.size(1), "its subspaces are as large as their space");
  require(model.spectra.dim() == 2 && model.spectra.size(0) == bases.size(0) &&
              model.sizes.dim() == 1 && model.sizes.size(0) == bases.size(0),
          "spectra or sizes are not those of " + std::to_string(bases.size(0)) + " clusters");
  const auto wide = bases.to(torch::kFloat64);
  require(torch::isfinite(wide).all().item<bool>() && std::isfinite(model.objective) &&
              std::isfinite(model.scale) && model.scale != 0 && std::isfinite(model.constant),
          "it has numbers that are not finite, or the scale 0");
  const auto identity = torch::eye(bases.size(2), torch::kFloat64);
  const double rounding = bases.scalar_type() == torch::kFloat64 ? 1e-9 : 1e-4;
  require((wide.transpose(1, 2).matmul(wide) - identity).abs().max().item<double>() < rounding,
          "its bases are not orthonormal");
  std::int64_t features = bases.size(1) - (model.constant != 0 ? 1 : 0);
  if (model.whitening.defined()) {
    require(model.whitening.dim() == 2 && model.whitening.size(0) == features &&
                model.whitening.size(1) == features &&
                torch::isfinite(model.whitening).all().item<bool>(),
            "it has no whitening of " + std::to_string(features) + " features");
  }
  if (model.encoder) {
    require(model.encoder->latent_size() == features,
            "its encoder makes " + std::to_string(model.encoder->latent_size()) +
                " features, its bases have " + std::to_string(features));
    features = model.encoder->specification().features;
  }
  if (model.directions.defined()) {
    require(model.directions.dim() == 2 && model.directions.size(1) == features &&
                torch::isfinite(model.directions).all().item<bool>(),
            "its directions do not lead to " + std::to_string(features) + " features");
  }
  if (model.curves.knots.defined() || model.curves.values.defined() ||
      model.curves.slopes.defined()) {
    require(!model.directions.defined() && !model.encoder && are_feature_curves(model.curves) &&
                model.curves.features() == features,
            "it has no monotone curves of " + std::to_string(features) + " features");
  }
}

}  // namespace

std::int64_t SubspaceModel::row_width() const {
  if (directions.defined()) {
    return directions.size(0);
  }
  if (encoder) {
    return encoder->specification().features;
  }
  return bases.size(1) - (constant != 0 ? 1 : 0);
}

void save_subspace_model(const std::filesystem::path& path, const SubspaceModel& model) {
  nlohmann::json description = {{"format", "eigenscale subspaces"},
                                {"version", version_of(model)},
                                {"objective", model.objective},
                                {"scale", model.scale},
                                {"constant", model.constant}};
  NamedTensors tensors = {
      {"bases", model.bases}, {"spectra", model.spectra}, {"sizes", model.sizes}};
  if (model.directions.defined()) {
    tensors["directions"] = model.directions;
  }
  if (model.whitening.defined()) {
    tensors["whitening"] = model.whitening;
  }
  if (model.curves.defined()) {
    tensors[kCurves[0]] = model.curves.knots;
    tensors[kCurves[1]] = model.curves.values;
    tensors[kCurves[2]] = model.curves.slopes;
  }
  if (model.encoder) {
    description["encoder"] = describe(model.encoder->specification());
    description["encoder"]["precision"] =
        model.encoder->precision() == torch::kFloat64 ? "double" : "float";
    for (const auto& [name, tensor] : named_parameters(*model.encoder)) {
      tensors[kEncoder + name] = tensor;
    }
  }
  tensors["description"] = text_tensor(description.dump());
  write_safetensors(path, tensors);
}

SubspaceModel load_subspace_model(const std::filesystem::path& path) {
  auto tensors = read_safetensors(path);
  for (const char* name : {"bases", "spectra", "sizes", "description"}) {
    if (!tensors.contains(name)) {
      throw InputError("'" + path.string() + "' is no subspace model: it has no tensor '" + name +
                       "'");
    }
  }
  SubspaceModel model;
  model.bases = tensors["bases"];
  model.spectra = tensors["spectra"];
  model.sizes = tensors["sizes"];
  if (tensors.contains("directions")) {
    model.directions = tensors["directions"];
  }
  if (tensors.contains("whitening")) {
    model.whitening = tensors["whitening"];
  }
  if (std::ranges::any_of(kCurves, [&](const char* part) { return tensors.contains(part); })) {
    model.curves = {tensors[kCurves[0]], tensors[kCurves[1]], tensors[kCurves[2]]};
  }
  try {
    const auto description = nlohmann::json::parse(text_of(tensors["description"]));
    const int version = description.at("version").get<int>();
    if (version < 1 || version > kVersion) {
      throw InputError("'" + path.string() + "' has version " + std::to_string(version) +
                       " of the format; this eigenscale reads up to " + std::to_string(kVersion));
    }
    model.objective = description.at("objective").get<double>();
    model.scale = description.at("scale").get<double>();
    model.constant = description.at("constant").get<double>();
    if (description.contains("encoder")) {
      const auto& encoder = description["encoder"];
      model.encoder = std::make_shared<Autoencoder>(
          parse_specification(encoder),
          encoder.at("precision") == "double" ? torch::kFloat64 : torch::kFloat32, 0);
      NamedTensors parameters;
      for (const auto& [name, tensor] : tensors) {
        if (name.starts_with(kEncoder)) {
          parameters[name.substr(std::strlen(kEncoder))] = tensor;
        }
      }
      load_parameters(*model.encoder, parameters, path);
    }
  } catch (const nlohmann::json::exception& error) {
    throw InputError("'" + path.string() + "' has a malformed description: " + error.what());
  }
  check_model(model, path);
  return model;
}

FeatureRows::FeatureRows(const RowProvider& rows, std::int64_t first_row,
                         const SubspaceModel& model)
    : RowProvider(rows.rows(), features_of(rows, model)),
      rows_(rows),
      first_row_(first_row),
      model_(model),
      encoder_(model.encoder),
      curves_(model.curves) {}

FeatureRows::FeatureRows(const RowProvider& rows, std::int64_t first_row,
                         const SubspaceModel& model, const Placement& placement)
    : FeatureRows(rows, first_row, model) {
  if (!placement.on_device()) {
    return;
  }
  device_ = placement;
  if (model.encoder) {
    encoder_ = autoencoder_at(placement, model.encoder);
  }
  if (model.curves.defined()) {
    for (auto* part : {&curves_.knots, &curves_.values, &curves_.slopes}) {
      *part = placement.to_device(*part, "encoder");
    }
  }
}

/// block * by, which is `kept` where the rows are, in their type.
torch::Tensor FeatureRows::multiplied(const torch::Tensor& block, const torch::Tensor& by,
                                      torch::Tensor& kept) const {
  if (!kept.defined() || kept.scalar_type() != block.scalar_type()) {
    const auto from = device_ ? device_->to_device(by, "directions") : by;
    kept = from.to(block.scalar_type());
  }
  return block.mm(kept);
}

torch::Tensor FeatureRows::map(const torch::Tensor& block) const {
  auto mapped = curves_.defined() ? curves_(block) : block;
  if (model_.directions.defined()) {
    mapped = multiplied(mapped, model_.directions, directions_);
  }
  if (encoder_) {
    mapped = encoder_->encode(mapped.to(encoder_->precision())).to(block.scalar_type());
  }
  if (model_.whitening.defined()) {
    mapped = multiplied(mapped, model_.whitening, whitening_);
  }
  return mapped;
}

torch::Tensor FeatureRows::read(RowRange range, torch::ScalarType type) const {
  const auto rows = rows_.read(range, type);
  if (!maps()) {
    return rows;
  }
  const torch::NoGradGuard no_grad;
  auto result = torch::empty({range.size(), features()}, rows.options());
  const std::int64_t first = first_row_ + range.begin;
  const std::int64_t end = first_row_ + range.end;
  for (std::int64_t begin = first; begin < end;) {
    const std::int64_t start = begin / kBlock * kBlock;
    const std::int64_t count = std::min(start + kBlock, end) - begin;
    const auto own = rows.narrow(0, begin - first, count);
    auto to = result.narrow(0, begin - first, count);
    if (count == kBlock) {
      to.copy_(map(own));
    } else {
      auto block = torch::zeros({kBlock, rows.size(1)}, rows.options());
      block.narrow(0, begin - start, count).copy_(own);
      to.copy_(map(block).narrow(0, begin - start, count));
    }
    begin += count;
  }
  return result;
}

torch::Tensor FeatureRows::read_at(const std::vector<std::int64_t>& positions,
                                   torch::ScalarType type) const {
  const auto rows = rows_.read_at(positions, type);
  if (!maps()) {
    return rows;
  }
  const torch::NoGradGuard no_grad;
  // Which of `positions` lie in each block, and where in it.
  std::map<std::int64_t, std::pair<std::vector<std::int64_t>, std::vector<std::int64_t>>> blocks;
  for (std::int64_t i = 0; i < std::ssize(positions); ++i) {
    const std::int64_t index = first_row_ + positions[i];
    auto& [chosen, places] = blocks[index / kBlock];
    chosen.push_back(i);
    places.push_back(index % kBlock);
  }
  auto result = torch::empty({rows.size(0), features()}, rows.options());
  for (const auto& [number, members] : blocks) {
    const auto numbers = [&](const std::vector<std::int64_t>& values) {
      const auto host = torch::tensor(values, torch::kInt64);
      return device_ ? device_->to_device(host, "row numbers") : host;
    };
    const auto chosen = numbers(members.first);
    const auto places = numbers(members.second);
    auto block = torch::zeros({kBlock, rows.size(1)}, rows.options());
    block.index_copy_(0, places, rows.index_select(0, chosen));
    result.index_copy_(0, chosen, map(block).index_select(0, places));
  }
  return result;
}

}  // namespace eigenscale
