#pragma once

#include <functional>
#include <memory>
#include <string>

#include "eigenscale/data/row_stream.h"
#include "eigenscale/data/row_writer.h"
#include "eigenscale/report/run.h"
#include "eigenscale/spectral/whitening_map.h"

namespace eigenscale {

/// Where arrays of a whitening run go: NAME.npy, or NAME.h5 with a dataset of that name.
struct WhiteningFiles {
  const Run& run;
  bool hdf5 = false;

  std::string file_name(const std::string& name) const { return name + (hdf5 ? ".h5" : ".npy"); }
  /// [collective] OutputError (agreed).
  std::unique_ptr<RowWriter> create(const Communicator& communicator, const std::string& name,
                                    torch::ScalarType type, std::int64_t width,
                                    std::int64_t own_rows) const;
};

/// [collective] Centres the rows of a stream, maps them, and writes them as `type` into the file
/// "whitened". Rows and map are where the run's tensors live, `mean` is on the host. `on_rows` (may
/// be empty, may be collective) gets what is written, piece by piece; `before_end` may still refuse
/// it. NumericalError (agreed) when a value is not finite, with `advice`. The file gets its name
/// last.
void write_whitened(const Communicator& communicator, Run& run, const WhiteningFiles& files,
                    const RowStream& stream, const torch::Tensor& mean, const WhiteningMap& map,
                    torch::ScalarType type, const std::string& advice,
                    const std::function<void(const torch::Tensor& rows)>& on_rows = {},
                    const std::function<void()>& before_end = {});

}  // namespace eigenscale
