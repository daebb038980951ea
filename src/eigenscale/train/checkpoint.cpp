#include "eigenscale/train/checkpoint.h"

#include <fstream>
#include <string>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/snapshot.h"

namespace eigenscale {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

const SnapshotKind kCheckpoint = {"eigenscale-checkpoint", 1, "step"};

std::string moment_array(const std::string& moment) { return "optimizer-" + moment; }

Json read_state(const fs::path& path) {
  std::ifstream file(path);
  auto json = Json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    throw InputError("'" + path.string() + "' is missing or damaged");
  }
  return json;
}

}  // namespace

void write_checkpoint(const Communicator& communicator, const fs::path& directory,
                      const Checkpoint& checkpoint, const Optimizer& optimizer, std::int64_t keep) {
  SnapshotWriter writer(communicator, kCheckpoint, directory, checkpoint.step);
  writer.write_files([&](const fs::path& folder) {
    write_safetensors(folder / "model.safetensors", checkpoint.model);
    if (!checkpoint.best.empty()) {
      write_safetensors(folder / "best.safetensors", checkpoint.best);
    }
    write_file(folder / "state.json", checkpoint.state.dump(1) + "\n");
  });
  // Where moments are whole on every rank, each writes a part of them.
  const auto range =
      RowPartition(optimizer.values(), communicator.size()).range(communicator.rank());
  for (std::size_t i = 0; i < optimizer.moments().size(); ++i) {
    writer.write_rows(
        moment_array(optimizer.moment_names()[i]),
        optimizer.moments()[i].narrow(0, range.begin - optimizer.owned().begin, range.size()));
  }
  writer.publish(keep);
}

std::optional<fs::path> newest_checkpoint(const Communicator& communicator,
                                          const fs::path& directory) {
  return newest_snapshot(communicator, kCheckpoint, directory);
}

Checkpoint read_checkpoint(const Communicator& communicator, const fs::path& path) {
  verify_snapshot(communicator, kCheckpoint, path);
  Checkpoint checkpoint;
  on_all_ranks(communicator, [&] {
    checkpoint.step = snapshot_number(kCheckpoint, path).value_or(0);
    checkpoint.state = read_state(path / "state.json");
    checkpoint.model = read_safetensors(path / "model.safetensors");
    if (fs::exists(path / "best.safetensors")) {
      checkpoint.best = read_safetensors(path / "best.safetensors");
    }
  });
  return checkpoint;
}

void read_moments(const Communicator& communicator, const fs::path& path, Optimizer& optimizer) {
  for (std::size_t i = 0; i < optimizer.moments().size(); ++i) {
    const auto array = moment_array(optimizer.moment_names()[i]);
    const auto file = path / (array + ".npy");
    on_all_ranks(communicator, [&] {
      if (!fs::exists(file)) {
        throw InputError("'" + path.string() + "' has no " + file.filename().string() +
                         ": it was written with another --optimizer or --momentum");
      }
    });
    const auto rows = snapshot_rows(communicator, path, array);
    on_all_ranks(communicator, [&] {
      if (rows != optimizer.values()) {
        throw InputError("'" + file.string() + "' holds " + std::to_string(rows) +
                         " numbers; the network has " + std::to_string(optimizer.values()));
      }
    });
    copy_into(optimizer.moments()[i],
              read_snapshot_rows(communicator, path, array, optimizer.owned()), "files");
  }
}

}  // namespace eigenscale
