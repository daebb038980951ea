#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/data/row_placement.h"

namespace eigenscale {

/// What is written: samples of one type and shape, this rank's number of them, and the file. The
/// rows of all ranks stand behind each other in rank order.
struct RowArray {
  std::filesystem::path path;
  /// HDF5: the dataset's name. Groups in it are made.
  std::string dataset;
  torch::ScalarType type = torch::kFloat32;
  std::vector<std::int64_t> row_shape;
  std::int64_t own_rows = 0;

  /// "path" or "path:dataset".
  std::string name() const;
};

/// An array written piece by piece by all ranks together. The file appears under its name only by
/// `commit`; dropping the writer before removes what was written. All errors are OutputError,
/// agreed, and end the writer.
class RowWriter {
 public:
  virtual ~RowWriter();
  RowWriter(const RowWriter&) = delete;
  RowWriter& operator=(const RowWriter&) = delete;

  /// [collective] This rank's next rows, any number of them, also none.
  void append(const torch::Tensor& rows);
  /// [collective] Ends the file when every rank has appended all of its rows.
  void commit();

  const RowArray& array() const { return array_; }

 protected:
  /// [collective]
  RowWriter(const Communicator& communicator, RowArray array);
  /// [collective] Writes contiguous rows that begin at row `first` of the whole array.
  virtual void write_rows(std::int64_t first, const torch::Tensor& rows) = 0;
  /// [collective] Brings everything to the disk and closes the temporary file.
  virtual void finish() = 0;

  const Communicator& communicator_;
  RowPlacement placement_;
  std::filesystem::path temporary_;

 private:
  RowArray array_;
  std::int64_t done_ = 0;
  bool committed_ = false;
};

/// [collective] A writer of a NumPy array (C order, format version 1.0), or of a dataset of a new
/// HDF5 file through MPI-IO. OutputError (agreed) when the file cannot be made, OptionError
/// (agreed) when the ranks disagree about the array; its code (agreed) in builds without HDF5, too.
std::unique_ptr<RowWriter> create_npy(const Communicator& communicator, const RowArray& array);
std::unique_ptr<RowWriter> create_hdf5(const Communicator& communicator, const RowArray& array);

}  // namespace eigenscale
