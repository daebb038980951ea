#include "eigenscale/data/hdf5_file.h"

#include <mpi.h>

#include <utility>

#include "eigenscale/core/errors.h"
#include "eigenscale/data/hdf5_handle.h"
#include "eigenscale/data/input_file.h"

namespace eigenscale {

struct Hdf5Source::Opened {
  // Closed in the reverse order.
  Hdf5Handle file;
  Hdf5Handle dataset;
  Hdf5Handle space;
  ElementType type;
  SampleDescription description;
};

namespace {

Hdf5Handle open_file(const std::string& path) {
  const InputFile present(path);  // says more about a missing file than HDF5 does
  silence_hdf5();
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  H5Pset_fapl_mpio(access.get(), MPI_COMM_SELF, MPI_INFO_NULL);
  Hdf5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  if (!file.valid()) {
    throw InputError("cannot open '" + path + "' (" + std::to_string(present.size()) +
                     " bytes) as HDF5: " + hdf5_reason());
  }
  return file;
}

// The numbers as they come from HDF5, which converts byte order and half precision itself.
ElementType memory_type(hid_t dataset, const std::string& name) {
  using Kind = ElementType::Kind;
  const Hdf5Handle stored(H5Dget_type(dataset), H5Tclose);
  const auto bytes = static_cast<int>(H5Tget_size(stored.get()));
  const H5T_class_t kind = H5Tget_class(stored.get());
  if (kind == H5T_FLOAT && (bytes == 2 || bytes == 4 || bytes == 8)) {
    return {Kind::kFloat, bytes == 8 ? 8 : 4};
  }
  const ElementType integer{
      H5Tget_sign(stored.get()) == H5T_SGN_NONE ? Kind::kUnsigned : Kind::kSigned, bytes};
  if (kind == H5T_INTEGER && integer.supported()) {
    return integer;
  }
  throw InputError("'" + name + "' has elements that are not numbers of a supported size: HDF5 " +
                   "class " + std::to_string(kind) + ", " + std::to_string(bytes) +
                   " bytes; supported are integers of 1, 2, 4, 8 bytes and floating point of 2, 4, "
                   "8");
}

}  // namespace

Hdf5Source::Hdf5Source(const std::string& path, const std::string& dataset)
    : Hdf5Source([&] {
        auto opened = std::make_unique<Opened>();
        const std::string name = path + ":" + dataset;
        opened->file = open_file(path);
        opened->dataset =
            Hdf5Handle(H5Dopen2(opened->file.get(), dataset.c_str(), H5P_DEFAULT), H5Dclose);
        if (!opened->dataset.valid()) {
          throw InputError("'" + path + "' has no dataset '" + dataset + "': " + hdf5_reason());
        }
        opened->type = memory_type(opened->dataset.get(), name);
        opened->space = Hdf5Handle(H5Dget_space(opened->dataset.get()), H5Sclose);
        const int dimensions = H5Sget_simple_extent_ndims(opened->space.get());
        if (dimensions < 1) {
          throw InputError("'" + name + "' holds no array; an array of samples is expected");
        }
        std::vector<hsize_t> sizes(dimensions);
        H5Sget_simple_extent_dims(opened->space.get(), sizes.data(), nullptr);
        const std::vector<std::int64_t> shape(sizes.begin(), sizes.end());
        byte_count(shape, opened->type.bytes, name);
        opened->description = {
            name, shape.front(), {shape.begin() + 1, shape.end()}, opened->type.scalar_type()};
        return opened;
      }()) {}

Hdf5Source::Hdf5Source(std::unique_ptr<Opened> opened)
    : SampleSource(opened->description), opened_(std::move(opened)) {}

Hdf5Source::~Hdf5Source() = default;

torch::Tensor Hdf5Source::read_rows(RowRange range) const {
  const auto shape = shape_of(range.size());
  const auto raw = torch::empty({byte_count(shape, opened_->type.bytes, name())}, torch::kUInt8);
  if (raw.numel() > 0) {
    const std::vector<hsize_t> count(shape.begin(), shape.end());
    std::vector<hsize_t> start(shape.size(), 0);
    start.front() = static_cast<hsize_t>(range.begin);
    const auto dimensions = static_cast<int>(shape.size());
    const Hdf5Handle memory(H5Screate_simple(dimensions, count.data(), nullptr), H5Sclose);
    H5Sselect_hyperslab(opened_->space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(),
                        nullptr);
    if (H5Dread(opened_->dataset.get(), native_hdf5_type(opened_->type), memory.get(),
                opened_->space.get(), H5P_DEFAULT, raw.data_ptr()) < 0) {
      throw InputError("cannot read rows " + std::to_string(range.begin) + " to " +
                       std::to_string(range.end) + " of '" + name() + "': " + hdf5_reason());
    }
  }
  return decode(opened_->type, raw, name()).view(shape);
}

}  // namespace eigenscale
