#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"

namespace eigenscale {

/// What a file of samples holds: `rows` samples of shape `row_shape` (without the leading N, empty
/// when a sample is one number) and the element type they are handed out in.
struct SampleDescription {
  std::string name;
  std::int64_t rows = 0;
  std::vector<std::int64_t> row_shape;
  torch::ScalarType scalar_type = torch::kFloat32;
};

/// Rows of samples in a file, read a range at a time. Owns the open file; each rank has its own.
/// Used by one thread at a time. Element values are those in the file, never rescaled. torch has
/// no unsigned types above 8 bits: uint16 comes as int32, uint32 and uint64 as int64.
class SampleSource {
 public:
  virtual ~SampleSource() = default;
  SampleSource(const SampleSource&) = delete;
  SampleSource& operator=(const SampleSource&) = delete;

  /// The specification it was opened by, for messages.
  const std::string& name() const { return description_.name; }
  std::int64_t rows() const { return description_.rows; }
  /// Shape of one row, without the leading N.
  const std::vector<std::int64_t>& row_shape() const { return description_.row_shape; }
  torch::ScalarType scalar_type() const { return description_.scalar_type; }

  /// [local] The rows of `range` (within 0 .. rows()): contiguous, range.size() x row_shape, native
  /// byte order, C order. Ascending ranges are the fast way through a compressed file. InputError
  /// when the file cannot be read, names the file and the offset.
  virtual torch::Tensor read_rows(RowRange range) const = 0;
  /// False where the library under it must not be used by two threads at a time, for any file.
  virtual bool reads_beside_others() const { return true; }
  /// False where somebody may write to what is read without that any read says so: parts of the
  /// data lie in files that the library under it opens by itself.
  virtual bool notices_writes() const { return true; }
  /// [local] The file that holds `row`, and which row of that file it is; for messages.
  virtual std::pair<std::string, std::int64_t> place(std::int64_t row) const {
    return {name(), row};
  }

 protected:
  explicit SampleSource(SampleDescription description) : description_(std::move(description)) {}
  /// `count` followed by the shape of a row.
  std::vector<std::int64_t> shape_of(std::int64_t count) const;

 private:
  SampleDescription description_;
};

/// [collective] Opens the samples that `specification` names, on every rank. The extension decides:
///
///   X.npy                            NumPy array (data/npy_file.h)
///   X.h5:dataset, X.hdf5:dataset     HDF5 dataset, where built (data/hdf5_file.h)
///   X-idx3-ubyte, X.idx, ...[.gz]    IDX (data/idx_file.h)
///   X.bin[:cifar10|cifar100][:labels|fine-labels|coarse-labels]   CIFAR (data/cifar_file.h)
///
/// The first dimension counts the samples. InputError (agreed) for anything that is not such a
/// file, or when ranks see different files under the same name.
std::unique_ptr<SampleSource> open_sample_source(const Communicator& communicator,
                                                 const std::string& specification);

/// [collective] The rows of several files one behind the other (data/concatenated_source.h); there
/// is at least one. InputError (agreed) also when their rows differ in shape.
std::unique_ptr<SampleSource> open_sample_sources(const Communicator& communicator,
                                                  const std::vector<std::string>& specifications);

}  // namespace eigenscale
