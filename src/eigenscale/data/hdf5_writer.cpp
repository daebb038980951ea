#include <unistd.h>

#include <algorithm>
#include <optional>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/data/hdf5_file.h"
#include "eigenscale/data/hdf5_handle.h"
#include "eigenscale/data/row_writer.h"

namespace eigenscale {
namespace {

// A collective HDF5 call may fail on one rank only: all ranks hear of it before the next one.
void agree(const Communicator& communicator, bool done, const std::string& what) {
  const std::string reason = done ? "" : hdf5_reason();
  on_all_ranks(communicator, [&] {
    if (!done) {
      throw OutputError("cannot " + what + ": " + reason);
    }
  });
}

Hdf5Handle create_dataset(hid_t file, const std::string& dataset, hid_t type,
                          const std::vector<hsize_t>& shape) {
  const Hdf5Handle space(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr),
                         H5Sclose);
  const Hdf5Handle link(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  H5Pset_create_intermediate_group(link.get(), 1);
  const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER);  // every element is written below
  return {
      H5Dcreate2(file, dataset.c_str(), type, space.get(), link.get(), creation.get(), H5P_DEFAULT),
      H5Dclose};
}

// [local] Selects `count` rows from `first` on, in the dataset and in memory.
std::pair<Hdf5Handle, Hdf5Handle> select_rows(hid_t dataset, std::vector<hsize_t> shape,
                                              std::int64_t first, std::int64_t count) {
  std::vector<hsize_t> start(shape.size(), 0);
  start.front() = static_cast<hsize_t>(first);
  shape.front() = static_cast<hsize_t>(count);
  Hdf5Handle in_file(H5Dget_space(dataset), H5Sclose);
  Hdf5Handle in_memory(H5Screate_simple(static_cast<int>(shape.size()), shape.data(), nullptr),
                       H5Sclose);
  if (count == 0) {
    H5Sselect_none(in_file.get());
    H5Sselect_none(in_memory.get());
  } else {
    H5Sselect_hyperslab(in_file.get(), H5S_SELECT_SET, start.data(), nullptr, shape.data(),
                        nullptr);
  }
  return {std::move(in_file), std::move(in_memory)};
}

class Hdf5Writer final : public RowWriter {
 public:
  Hdf5Writer(const Communicator& communicator, const RowArray& array)
      : RowWriter(communicator, array), shape_(array.row_shape.begin(), array.row_shape.end()) {
    silence_hdf5();
    on_all_ranks(
        communicator,
        [&] {
          if (array.type == torch::kFloat16) {
            const std::string name = array.name();
            throw OutputError("'" + name + "' cannot be written in half precision");
          }
          type_ = native_hdf5_type(element_type_of(array.type));
        },
        ExitCode::kOutput);
    const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
    H5Pset_fapl_mpio(access.get(), mpi_handle(communicator), MPI_INFO_NULL);
    {
      const WatchedCall watched("HDF5's H5Fcreate", 0);
      file_ = H5Fcreate(temporary_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get());
    }
    agree(communicator, file_ >= 0, "create '" + temporary_.string() + "'");
    shape_.insert(shape_.begin(), static_cast<hsize_t>(placement_.total));
    {
      const WatchedCall watched("HDF5's H5Dcreate", 0);
      dataset_.emplace(create_dataset(file_, array.dataset, type_, shape_));
    }
    agree_or_close(dataset_->valid(), "create the dataset '" + array.name() + "'");
  }

 protected:
  // All ranks make the same number of collective writes, below MPI's 2 GiB each.
  void write_rows(std::int64_t first, const torch::Tensor& rows) override {
    constexpr std::int64_t kChunkBytes = std::int64_t{256} << 20;
    const Hdf5Handle transfer(H5Pcreate(H5P_DATASET_XFER), H5Pclose);
    H5Pset_dxpl_mpio(transfer.get(), H5FD_MPIO_COLLECTIVE);
    std::int64_t row_bytes = static_cast<std::int64_t>(rows.element_size());
    for (const std::int64_t size : array().row_shape) {
      row_bytes *= size;
    }
    const std::int64_t chunk =
        std::max<std::int64_t>(1, kChunkBytes / std::max<std::int64_t>(1, row_bytes));
    const std::int64_t chunks =
        all_reduce(communicator_, (rows.size(0) + chunk - 1) / chunk, ReduceOp::kMax);
    for (std::int64_t i = 0; i < chunks; ++i) {
      const std::int64_t begin = std::min(rows.size(0), i * chunk);
      const std::int64_t count = std::min(rows.size(0) - begin, chunk);
      const auto [in_file, in_memory] = select_rows(dataset_->get(), shape_, first + begin, count);
      herr_t status = 0;
      {
        const WatchedCall watched("HDF5's H5Dwrite", count * row_bytes);
        status = H5Dwrite(dataset_->get(), type_, in_memory.get(), in_file.get(), transfer.get(),
                          rows.narrow(0, begin, count).data_ptr());
      }
      agree_or_close(status >= 0, "write '" + array().name() + "'");
    }
  }

  void finish() override { agree(communicator_, close(), "finish '" + array().name() + "'"); }

 private:
  /// [collective] Closing the file is collective, so no destructor may do it; a writer that is
  /// dropped half-way leaves it to MPI's end.
  bool close() {
    const WatchedCall watched("HDF5's H5Fclose", 0);
    dataset_.reset();
    return H5Fclose(file_) >= 0;
  }

  void agree_or_close(bool done, const std::string& what) {
    try {
      agree(communicator_, done, what);
    } catch (const Error&) {
      close();
      throw;
    }
  }

  std::vector<hsize_t> shape_;
  hid_t type_ = -1;
  hid_t file_ = -1;
  std::optional<Hdf5Handle> dataset_;
};

}  // namespace

std::unique_ptr<RowWriter> create_hdf5(const Communicator& communicator, const RowArray& array) {
  return std::make_unique<Hdf5Writer>(communicator, array);
}

void write_hdf5(const Communicator& communicator, const std::filesystem::path& path,
                const std::string& dataset, const torch::Tensor& own_rows) {
  const auto writer = create_hdf5(
      communicator, {.path = path,
                     .dataset = dataset,
                     .type = own_rows.scalar_type(),
                     .row_shape = {own_rows.sizes().begin() + 1, own_rows.sizes().end()},
                     .own_rows = own_rows.size(0)});
  writer->append(own_rows);
  writer->commit();
}

}  // namespace eigenscale
