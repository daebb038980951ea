#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/nn/safetensors.h"
#include "eigenscale/train/optimizer.h"

namespace eigenscale {

/// Checkpoints are snapshots (data/snapshot.h) by the name step-N, of
///
///   model.safetensors          parameters and buffers
///   best.safetensors           those with the best validation, where there are any
///   optimizer-MOMENT.npy       the optimiser's arrays, whatever the number of ranks
///   state.json                 where training stands
///
/// One that is there is complete, at whatever instant the job died.

/// What a checkpoint holds beside the optimiser's arrays.
struct Checkpoint {
  std::int64_t step = 0;
  nlohmann::json state;
  NamedTensors model;
  NamedTensors best;
};

/// [collective] Writes a checkpoint; afterwards the last `keep` ones remain. OutputError (agreed),
/// which leaves the earlier ones intact.
void write_checkpoint(const Communicator& communicator, const std::filesystem::path& directory,
                      const Checkpoint& checkpoint, const Optimizer& optimizer, std::int64_t keep);

/// [collective] The newest complete checkpoint in the directory, none where there is none.
std::optional<std::filesystem::path> newest_checkpoint(const Communicator& communicator,
                                                       const std::filesystem::path& directory);

/// [collective] Reads one after checking every file against the manifest. InputError (agreed) for a
/// file that is missing or damaged, or a format that this version does not know.
Checkpoint read_checkpoint(const Communicator& communicator, const std::filesystem::path& path);

/// [collective] Fills the optimiser's moments from the checkpoint at `path`. InputError (agreed)
/// when they are of another optimiser or network.
void read_moments(const Communicator& communicator, const std::filesystem::path& path,
                  Optimizer& optimizer);

}  // namespace eigenscale
