#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/input_file.h"
#include "eigenscale/data/npy_header.h"
#include "eigenscale/data/sample_source.h"

namespace eigenscale {

/// A NumPy array file (format versions 1.0, 2.0, 3.0), C or Fortran order, either byte order. A
/// range of rows is one positioned read in C order; in Fortran order it is one per column, gathered
/// in strips of bounded size.
class NpySource final : public SampleSource {
 public:
  /// [local] InputError for a file that is not complete: magic, header, type, size.
  explicit NpySource(const std::string& path);
  torch::Tensor read_rows(RowRange range) const override;

 private:
  struct Opened;
  explicit NpySource(Opened opened);
  torch::Tensor read_fortran_rows(RowRange range) const;

  std::unique_ptr<InputFile> file_;
  NpyHeader header_;
};

/// [collective] Writes the rows of all ranks, in rank order, as one array of C order, format
/// version 1.0. `own_rows` is any number of rows, also none, but has the same row shape and type on
/// all ranks. The file appears under its name only when all ranks succeeded; otherwise all throw
/// OutputError (agreed) and what was written is removed.
void write_npy(const Communicator& communicator, const std::filesystem::path& path,
               const torch::Tensor& own_rows);

/// Makes rows for a writer: the rows of `range`, counted over all ranks, as range.size() x row
/// shape.
using RowProducer = std::function<torch::Tensor(RowRange range)>;

/// [collective] The same for an array too large to hold: each rank writes the `own_rows` rows after
/// those of the ranks before it, asking `produce` (local) for bounded chunks in ascending order.
void write_npy(const Communicator& communicator, const std::filesystem::path& path,
               torch::ScalarType type, const std::vector<std::int64_t>& row_shape,
               std::int64_t own_rows, const RowProducer& produce);

}  // namespace eigenscale
