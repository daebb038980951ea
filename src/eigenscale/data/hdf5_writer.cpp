#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <fstream>
#include <sstream>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/comm/mpi_communicator.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/data/hdf5_file.h"
#include "eigenscale/data/hdf5_handle.h"
#include "eigenscale/data/row_placement.h"

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

// [collective] All ranks make the same number of collective writes, below MPI's 2 GiB each.
void write_dataset(const Communicator& communicator, hid_t file, const std::string& dataset,
                   const torch::Tensor& rows, const std::string& name) {
  constexpr std::int64_t kChunkBytes = std::int64_t{256} << 20;
  const RowPlacement placement = place_rows(communicator, rows.size(0));
  std::vector<hsize_t> shape(rows.sizes().begin(), rows.sizes().end());
  shape.front() = static_cast<hsize_t>(placement.total);
  const hid_t type = native_hdf5_type(element_type_of(rows.scalar_type()));
  const Hdf5Handle handle = create_dataset(file, dataset, type, shape);
  agree(communicator, handle.valid(), "create the dataset '" + name + "'");

  const Hdf5Handle transfer(H5Pcreate(H5P_DATASET_XFER), H5Pclose);
  H5Pset_dxpl_mpio(transfer.get(), H5FD_MPIO_COLLECTIVE);
  const std::int64_t row_bytes = rows.slice(0, 0, 1).nbytes();
  const std::int64_t largest_row = all_reduce(communicator, row_bytes, ReduceOp::kMax);
  const std::int64_t chunk =
      std::max<std::int64_t>(1, kChunkBytes / std::max<std::int64_t>(1, largest_row));
  const std::int64_t chunks =
      all_reduce(communicator, (rows.size(0) + chunk - 1) / chunk, ReduceOp::kMax);
  for (std::int64_t i = 0; i < chunks; ++i) {
    const std::int64_t begin = std::min(rows.size(0), i * chunk);
    const std::int64_t count = std::min(rows.size(0) - begin, chunk);
    const auto [in_file, in_memory] =
        select_rows(handle.get(), shape, placement.first + begin, count);
    const herr_t status = H5Dwrite(handle.get(), type, in_memory.get(), in_file.get(),
                                   transfer.get(), rows.narrow(0, begin, count).data_ptr());
    agree(communicator, status >= 0, "write '" + name + "'");
  }
}

// [collective]
void write_temporary(const Communicator& communicator, const std::filesystem::path& temporary,
                     const std::string& dataset, const torch::Tensor& rows,
                     const std::string& name) {
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fapl_mpio(access.get(), mpi_handle(communicator), MPI_INFO_NULL);
  // A plain identifier: closing the file is collective, so no destructor may do it.
  const hid_t file = H5Fcreate(temporary.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get());
  agree(communicator, file >= 0, "create '" + temporary.string() + "'");
  std::exception_ptr failure;
  try {
    write_dataset(communicator, file, dataset, rows, name);
  } catch (const Error& error) {
    if (!error.agreed()) {
      throw;
    }
    failure = std::current_exception();
  }
  const bool closed = H5Fclose(file) >= 0;
  if (failure) {
    std::rethrow_exception(failure);
  }
  agree(communicator, closed, "finish '" + name + "'");
}

}  // namespace

void write_hdf5(const Communicator& communicator, const std::filesystem::path& path,
                const std::string& dataset, const torch::Tensor& own_rows) {
  const std::string name = path.string() + ":" + dataset;
  std::ostringstream layout;
  layout << name << ' ' << torch::toString(own_rows.scalar_type()) << " x "
         << own_rows.sizes().slice(1);
  require_same_on_all_ranks(communicator, "the dataset to be written", layout.str());
  const auto rows = own_rows.detach().cpu().contiguous();
  const auto temporary = temporary_name(path);
  const bool is_root = communicator.rank() == 0;
  silence_hdf5();
  try {
    on_all_ranks(
        communicator,
        [&] {
          if (rows.scalar_type() == torch::kFloat16) {
            throw OutputError("'" + name + "' cannot be written in half precision");
          }
          // Where this fails the reason is clearer than what HDF5 would say.
          if (is_root && !std::ofstream(temporary)) {
            throw OutputError("cannot create '" + temporary.string() +
                              "': " + std::strerror(errno));
          }
        },
        ExitCode::kOutput);
    write_temporary(communicator, temporary, dataset, rows, name);
    on_all_ranks(
        communicator,
        [&] {
          if (is_root) {
            publish_file(temporary, path);
          }
        },
        ExitCode::kOutput);
  } catch (...) {
    if (is_root) {
      ::unlink(temporary.c_str());
    }
    throw;
  }
}

}  // namespace eigenscale
