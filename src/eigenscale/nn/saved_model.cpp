#include "eigenscale/nn/saved_model.h"

#include <algorithm>

#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/version.h"
#include "eigenscale/nn/network_specification.h"

namespace eigenscale {

std::int64_t SavedModel::parameter_count() const {
  std::int64_t count = 0;
  for (const auto& [name, tensor] : tensors) {
    count += name.find(".running_") == std::string::npos ? tensor.numel() : 0;
  }
  return count;
}

std::int64_t SavedModel::bytes() const {
  std::int64_t bytes = 0;
  for (const auto& [name, tensor] : tensors) {
    bytes += static_cast<std::int64_t>(tensor.nbytes());
  }
  return bytes;
}

bool SavedModel::is_double() const {
  return std::ranges::any_of(tensors, [](const auto& entry) {
    return entry.first.ends_with(".weight") && entry.second.scalar_type() == torch::kFloat64;
  });
}

SavedModel read_model(const std::filesystem::path& folder) {
  const auto weights = folder / "model.safetensors";
  SavedModel model{read_specification(folder / "model.json"), read_safetensors(weights)};
  for (const auto& [name, tensor] : model.tensors) {
    if (!tensor.isfinite().all().item<bool>()) {
      throw InputError("'" + weights.string() + "': tensor '" + name +
                       "' holds a value that is not finite");
    }
  }
  return model;
}

void write_model(const std::filesystem::path& folder, const SavedModel& model) {
  const auto& specification = model.specification;
  Metadata metadata = {{"format", "pt"},
                       {"producer", "eigenscale " + version()},
                       {"input", specification.at("input").dump()},
                       {"outputs", specification.at("outputs").dump()},
                       {"scale", nlohmann::json(specification_scale(specification)).dump()}};
  if (specification.contains("precision")) {
    metadata["precision"] = specification["precision"].get<std::string>();
  }
  write_safetensors(folder / "model.safetensors", model.tensors, metadata);
  AtomicFile file(folder / "model.json");
  file.write(model.specification.dump(2) + "\n");
  file.commit();
}

std::unique_ptr<Network> make_network(const Communicator& communicator, const SavedModel& model,
                                      torch::ScalarType precision,
                                      const std::filesystem::path& source) {
  auto network =
      std::make_unique<Network>(communicator, model.specification, precision, std::nullopt);
  load_parameters(*network, model.tensors, source);
  network->eval();
  return network;
}

}  // namespace eigenscale
