#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// Snapshots of a run lie side by side in one directory, each a directory PREFIX-N of files and
///
///   manifest.json     format and version, and size and CRC-32 of every other file
///
/// made under a hidden name, synced and renamed: one that is there is complete, at whatever instant
/// the job died. Tensors split by rows over ranks are .npy files of all rows, which any number of
/// ranks reads back. What a job that died has left under the hidden name goes when a snapshot of
/// that number is begun again.
struct SnapshotKind {
  std::string format;  ///< in the manifest: eigenscale-checkpoint
  int version = 1;     ///< newest that is read; what is written
  std::string prefix;  ///< of the directories' names, without the hyphen: step
};

/// Writes one snapshot; borrows the communicator. Without `publish()` there is none.
class SnapshotWriter {
 public:
  /// [collective] OutputError (agreed), as of all its functions.
  SnapshotWriter(const Communicator& communicator, SnapshotKind kind,
                 std::filesystem::path directory, std::int64_t number);
  SnapshotWriter(const SnapshotWriter&) = delete;
  SnapshotWriter& operator=(const SnapshotWriter&) = delete;

  /// [collective] Rank 0 alone writes files into the folder it is given.
  void write_files(const std::function<void(const std::filesystem::path& folder)>& write);
  /// [collective] NAME.npy: the rows of all ranks behind each other, any number of them on each;
  /// float32, float64, int64 or uint8, of one row shape.
  void write_rows(const std::string& name, const torch::Tensor& own_rows);
  /// [collective] Writes the manifest and gives the snapshot its name, replacing one of the same
  /// number; afterwards the last `keep` ones (at least one) remain.
  void publish(std::int64_t keep);

 private:
  const Communicator& communicator_;
  SnapshotKind kind_;
  std::filesystem::path directory_;
  std::filesystem::path path_;
  std::filesystem::path partial_;
};

/// [local] The number in a snapshot's name, none for any other name.
std::optional<std::int64_t> snapshot_number(const SnapshotKind& kind,
                                            const std::filesystem::path& path);

/// [collective] The snapshot of the largest number in the directory, none where there is none.
/// InputError (agreed) for a directory that cannot be read.
std::optional<std::filesystem::path> newest_snapshot(const Communicator& communicator,
                                                     const SnapshotKind& kind,
                                                     const std::filesystem::path& directory);

/// [collective] Compares every file with the manifest, each on one of the ranks. InputError
/// (agreed) for one that is missing or damaged, or a format that this version does not know.
void verify_snapshot(const Communicator& communicator, const SnapshotKind& kind,
                     const std::filesystem::path& path);

/// [collective] How many rows NAME.npy has. InputError (agreed) where it is none.
std::int64_t snapshot_rows(const Communicator& communicator, const std::filesystem::path& path,
                           const std::string& name);

/// [collective] The rows `range` of NAME.npy, each rank its own range. InputError (agreed) for one
/// beyond its rows.
torch::Tensor read_snapshot_rows(const Communicator& communicator,
                                 const std::filesystem::path& path, const std::string& name,
                                 RowRange range);

}  // namespace eigenscale
