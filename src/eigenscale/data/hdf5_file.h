#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <memory>
#include <string>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {

/// [local] Whether this build reads and writes HDF5.
bool has_hdf5();

/// [local] The dataset of the file. InputError as for Hdf5Source, when the name of the dataset is
/// empty, and in builds without HDF5.
std::unique_ptr<SampleSource> open_hdf5(const std::string& path, const std::string& dataset);

/// A dataset of an HDF5 file, where the build has HDF5. Each rank opens the file for itself through
/// MPI-IO (on MPI_COMM_SELF) and reads independently: a file opened by all ranks together could
/// only be closed by all together, which an error on one rank would turn into a hang.
class Hdf5Source final : public SampleSource {
 public:
  /// [local] InputError when the file is not HDF5, or there is no such dataset of numbers.
  Hdf5Source(const std::string& path, const std::string& dataset);
  ~Hdf5Source() override;
  torch::Tensor read_rows(RowRange range) const override;
  bool reads_beside_others() const override { return false; }
  /// Not of the files of a virtual dataset, nor of external ones.
  bool notices_writes() const override;

 private:
  struct Opened;
  explicit Hdf5Source(std::unique_ptr<Opened> opened);

  std::unique_ptr<Opened> opened_;
};

/// [collective] Writes the rows of all ranks, in rank order, as dataset `dataset` (groups in its
/// name are made) of a new file, together through MPI-IO. `own_rows` as for write_npy, and so is
/// the way the file appears and fails. Where the build has HDF5.
void write_hdf5(const Communicator& communicator, const std::filesystem::path& path,
                const std::string& dataset, const torch::Tensor& own_rows);

}  // namespace eigenscale
