#include "eigenscale/data/hdf5_file.h"

#include <mpi.h>

#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "eigenscale/core/errors.h"
#include "eigenscale/data/hdf5_handle.h"
#include "eigenscale/data/input_file.h"

namespace eigenscale {

struct Hdf5Source::Opened {
  // Closed in the reverse order.
  std::optional<InputFile> bytes;
  Hdf5Handle file;
  Hdf5Handle dataset;
  Hdf5Handle space;
  ElementType type;
  SampleDescription description;
  bool notices_writes = true;
};

namespace {

// Without MPI-IO HDF5 locks the file, which not every network file system can; with it HDF5 reads
// no virtual datasets.
enum class Driver { kMpiIo, kSerial };

Hdf5Handle open_file(const InputFile& present, Driver driver) {
  const std::string& path = present.name();
  silence_hdf5();
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose);
  if (driver == Driver::kMpiIo) {
    H5Pset_fapl_mpio(access.get(), MPI_COMM_SELF, MPI_INFO_NULL);
  }
  Hdf5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  if (!file.valid()) {
    throw InputError("cannot open '" + path + "' (" + std::to_string(present.size()) +
                     " bytes) as HDF5: " + hdf5_reason());
  }
  return file;
}

Hdf5Handle open_dataset(const Hdf5Handle& file, const std::string& path,
                        const std::string& dataset) {
  // A compressed chunk that the cache, 1 MiB by default, does not hold is unpacked again by every
  // read that touches it. Chunks that were read to the end leave first.
  constexpr std::size_t kCacheBytes = std::size_t{32} << 20;
  constexpr std::size_t kCacheSlots = 12421;
  const Hdf5Handle access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  H5Pset_chunk_cache(access.get(), kCacheSlots, kCacheBytes, 1);
  Hdf5Handle opened(H5Dopen2(file.get(), dataset.c_str(), access.get()), H5Dclose);
  if (!opened.valid()) {
    throw InputError("'" + path + "' has no dataset '" + dataset + "': " + hdf5_reason());
  }
  return opened;
}

const char* class_word(H5T_class_t kind) {
  switch (kind) {
    case H5T_STRING:
      return "text";
    case H5T_COMPOUND:
      return "compound values";
    case H5T_ARRAY:
      return "arrays";
    case H5T_VLEN:
      return "lists of various lengths";
    case H5T_REFERENCE:
      return "references";
    case H5T_OPAQUE:
      return "opaque bytes";
    case H5T_BITFIELD:
      return "bit fields";
    case H5T_TIME:
      return "times";
    case H5T_INTEGER:
      return "integers";
    case H5T_FLOAT:
      return "floating point";
    case H5T_ENUM:
      return "enumerated values";
    default:
      return "values of an unknown class";
  }
}

// h5py stores bool as an enumeration of FALSE = 0 and TRUE = 1 in one byte.
bool is_bool(hid_t enumeration) {
  return H5Tget_size(enumeration) == 1 && H5Tget_nmembers(enumeration) == 2 &&
         H5Tget_member_index(enumeration, "FALSE") >= 0 &&
         H5Tget_member_index(enumeration, "TRUE") >= 0;
}

// The numbers as they come from HDF5, which converts byte order and half precision itself.
ElementType memory_type(hid_t dataset, const std::string& name) {
  using Kind = ElementType::Kind;
  Hdf5Handle stored(H5Dget_type(dataset), H5Tclose);
  const H5T_class_t kind = H5Tget_class(stored.get());
  const auto bytes = static_cast<int>(H5Tget_size(stored.get()));
  if (kind == H5T_FLOAT && (bytes == 2 || bytes == 4 || bytes == 8)) {
    return {Kind::kFloat, bytes == 8 ? 8 : 4};
  }
  if (kind == H5T_ENUM) {
    if (is_bool(stored.get())) {
      return {Kind::kBool, 1};
    }
    stored = Hdf5Handle(H5Tget_super(stored.get()), H5Tclose);
  }
  const ElementType integer{
      H5Tget_sign(stored.get()) == H5T_SGN_NONE ? Kind::kUnsigned : Kind::kSigned, bytes};
  if ((kind == H5T_INTEGER || kind == H5T_ENUM) && integer.supported()) {
    return integer;
  }
  throw InputError(
      "'" + name + "' has elements that are not numbers of a supported size: " + class_word(kind) +
      ", " + std::to_string(bytes) +
      " bytes each; supported are integers of 1, 2, 4, 8 bytes and floating point of 2, 4, "
      "8");
}

// HDF5 gives fill values for a part of a virtual dataset whose file is missing.
void require_virtual_parts(hid_t creation, const std::string& path, const std::string& name) {
  std::size_t parts = 0;
  H5Pget_virtual_count(creation, &parts);
  for (std::size_t part = 0; part < parts; ++part) {
    std::string file(H5Pget_virtual_filename(creation, part, nullptr, 0) + 1, '\0');
    H5Pget_virtual_filename(creation, part, file.data(), file.size());
    file.resize(file.size() - 1);
    // "." is the file itself; a pattern stands for any number of files.
    if (file != "." && file.find('%') == std::string::npos &&
        !std::filesystem::exists(std::filesystem::path(path).parent_path() / file)) {
      throw InputError("'" + name + "' is a virtual dataset, and '" + file +
                       "', which holds a part of it, does not exist");
    }
  }
}

// ", stored with the filter 'blosc' (32001), which ..." for the first that is not there.
std::string missing_filter(hid_t dataset) {
  const Hdf5Handle creation(H5Dget_create_plist(dataset), H5Pclose);
  const int filters = H5Pget_nfilters(creation.get());
  for (int i = 0; i < filters; ++i) {
    unsigned flags = 0;
    std::size_t values = 0;
    std::array<char, 64> text{};
    const H5Z_filter_t filter = H5Pget_filter2(creation.get(), static_cast<unsigned>(i), &flags,
                                               &values, nullptr, text.size(), text.data(), nullptr);
    if (filter >= 0 && H5Zfilter_avail(filter) <= 0) {
      return ", stored with the filter '" + std::string(text.data()) + "' (number " +
             std::to_string(filter) +
             "), which is not installed here (HDF5_PLUGIN_PATH says where HDF5 looks)";
    }
  }
  return "";
}

}  // namespace

bool has_hdf5() { return true; }

std::unique_ptr<SampleSource> open_hdf5(const std::string& path, const std::string& dataset) {
  if (dataset.empty()) {
    throw InputError("'" + path + "' needs the name of a dataset: " + path + ":NAME");
  }
  return std::make_unique<Hdf5Source>(path, dataset);
}

Hdf5Source::Hdf5Source(const std::string& path, const std::string& dataset)
    : Hdf5Source([&] {
        auto opened = std::make_unique<Opened>();
        const std::string name = path + ":" + dataset;
        opened->bytes.emplace(path);  // says more about a missing file than HDF5 does
        opened->file = open_file(*opened->bytes, Driver::kMpiIo);
        opened->dataset = open_dataset(opened->file, path, dataset);
        const Hdf5Handle creation(H5Dget_create_plist(opened->dataset.get()), H5Pclose);
        const bool is_virtual = H5Pget_layout(creation.get()) == H5D_VIRTUAL;
        opened->notices_writes = !is_virtual && H5Pget_external_count(creation.get()) == 0;
        if (is_virtual) {
          require_virtual_parts(creation.get(), path, name);
          opened->dataset.close();
          opened->file.close();
          opened->file = open_file(*opened->bytes, Driver::kSerial);
          opened->dataset = open_dataset(opened->file, path, dataset);
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

bool Hdf5Source::notices_writes() const { return opened_->notices_writes; }

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
      const std::string reason = hdf5_reason();
      throw InputError("cannot read rows " + std::to_string(range.begin) + " to " +
                       std::to_string(range.end) + " of '" + name() + "'" +
                       missing_filter(opened_->dataset.get()) + ": " + reason);
    }
  }
  opened_->bytes->require_unchanged();
  if (range.end == rows()) {
    // Its cached chunks would stay while a hundred other files are read.
    const std::string& path = opened_->bytes->name();
    opened_->dataset.close();
    opened_->dataset = open_dataset(opened_->file, path, name().substr(path.size() + 1));
  }
  return decode(opened_->type, raw, name()).view(shape);
}

}  // namespace eigenscale
