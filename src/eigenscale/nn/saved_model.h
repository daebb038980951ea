#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/nn/network.h"
#include "eigenscale/nn/safetensors.h"

namespace eigenscale {

/// A network as model.json and model.safetensors have it: a completed specification, which also
/// says by what the values of the data file were multiplied, and the tensors of every layer.
struct SavedModel {
  nlohmann::json specification;
  NamedTensors tensors;

  /// Numbers in parameters, without buffers.
  std::int64_t parameter_count() const;
  std::int64_t bytes() const;
  /// Whether its weights are in double precision.
  bool is_double() const;
};

/// [local] Reads both files of a folder. InputError naming the file for one that is missing,
/// malformed, does not fit the other, or holds a value that is not finite.
SavedModel read_model(const std::filesystem::path& folder);

/// [local] Writes both, each atomically; the safetensors file's metadata repeat what comes before
/// the network: input shape, scale, number of classes, precision. OutputError.
void write_model(const std::filesystem::path& folder, const SavedModel& model);

/// [local] The network in evaluation mode. InputError, naming `source`, when tensors and
/// specification do not fit.
std::unique_ptr<Network> make_network(const Communicator& communicator, const SavedModel& model,
                                      torch::ScalarType precision,
                                      const std::filesystem::path& source);

}  // namespace eigenscale
