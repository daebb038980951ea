#pragma once

#include <string>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/report/run.h"

namespace eigenscale {

/// What eigenscale-whiten --apply is asked to do, beside what every run is told.
struct WhiteningApplicationOptions {
  std::string data;
  /// Directory of the finished run whose transform is applied.
  std::string apply;
  /// "h5" or, anything else, npy.
  std::string format;
};

/// [collective] Transforms the rows of `data`, a piece at a time in one pass, by the scale, mean
/// and transform of a finished run, and writes whitened, report.html and, last, summary.json. On as
/// many ranks as that run had, its own data give its own `whitened` to the bit. Throws, agreed on
/// all ranks: InputError when the directory is not that of a finished run or the rows have another
/// width, OptionError when the transform does not fit the memory, NumericalError for a value that
/// is not finite.
ExitCode run_whitening_application(const Communicator& world, const RunOptions& run,
                                   const WhiteningApplicationOptions& options);

}  // namespace eigenscale
