#include "eigenscale/cluster/subspace_model.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "eigenscale/cluster/subspace_assignment.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/nn/safetensors.h"

namespace eigenscale {
namespace {

constexpr const char* kEncoder = "encoder:";
constexpr int kVersion = 1;

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
                                {"version", kVersion},
                                {"objective", model.objective},
                                {"scale", model.scale},
                                {"constant", model.constant}};
  NamedTensors tensors = {
      {"bases", model.bases}, {"spectra", model.spectra}, {"sizes", model.sizes}};
  if (model.directions.defined()) {
    tensors["directions"] = model.directions;
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
  if (model.bases.dim() != 3 || model.bases.numel() == 0 || !model.bases.is_floating_point()) {
    throw InputError("'" + path.string() + "' has bases of another shape than K x d x s");
  }
  if (tensors.contains("directions")) {
    model.directions = tensors["directions"];
  }
  try {
    const auto description = nlohmann::json::parse(text_of(tensors["description"]));
    if (description.at("version").get<int>() != kVersion) {
      throw InputError("'" + path.string() + "' has version " + description.at("version").dump() +
                       " of the format; this eigenscale reads version " + std::to_string(kVersion));
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
  return model;
}

FeatureRows::FeatureRows(const RowProvider& rows, std::int64_t first_row,
                         const SubspaceModel& model)
    : RowProvider(rows.rows(), features_of(rows, model)),
      rows_(rows),
      first_row_(first_row),
      model_(model) {}

torch::Tensor FeatureRows::map(const torch::Tensor& block) const {
  auto mapped =
      model_.directions.defined() ? block.mm(model_.directions.to(block.scalar_type())) : block;
  if (!model_.encoder) {
    return mapped;
  }
  const auto encoded = model_.encoder->encode(mapped.to(model_.encoder->precision()));
  return encoded.to(block.scalar_type());
}

torch::Tensor FeatureRows::read(RowRange range, torch::ScalarType type) const {
  const auto rows = rows_.read(range, type);
  if (!model_.directions.defined() && !model_.encoder) {
    return rows;
  }
  constexpr std::int64_t kBlock = SubspaceAssigner::kBlock;
  const torch::NoGradGuard no_grad;
  auto result = torch::empty({range.size(), features()}, type);
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

}  // namespace eigenscale
