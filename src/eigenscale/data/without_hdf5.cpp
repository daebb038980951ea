#include "eigenscale/core/errors.h"
#include "eigenscale/data/hdf5_file.h"
#include "eigenscale/data/row_writer.h"

namespace eigenscale {

bool has_hdf5() { return false; }

std::unique_ptr<SampleSource> open_hdf5(const std::string& path, const std::string& /*dataset*/) {
  throw InputError("'" + path + "' cannot be read: this eigenscale was built without HDF5");
}

std::unique_ptr<RowWriter> create_hdf5(const Communicator& /*communicator*/,
                                       const RowArray& array) {
  throw Error(ExitCode::kOptions,
              "'" + array.name() + "' cannot be written: this eigenscale was built without HDF5",
              /*agreed=*/true);
}

}  // namespace eigenscale
