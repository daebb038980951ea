#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/report/run.h"
#include "eigenscale/spectral/whitening_fit.h"

namespace eigenscale {

/// What eigenscale-whiten is asked to do, beside what every run is told.
struct WhiteningRunOptions {
  std::string data;
  double scale = 1;
  WhiteningMethod method = WhiteningMethod::kZca;
  std::int64_t components = 0;
  WhiteningSolver solver = WhiteningSolver::kAuto;
  std::int64_t passes = 8;  ///< of the randomised solver, at most
  std::uint64_t seed = 1;   ///< of the start of the randomised solver
  /// Negative: 1e-6 of the mean variance of a feature.
  double epsilon = -1;
  /// Products of rows in double whatever the data are; otherwise in single precision where the data
  /// are no doubles and it is enough.
  bool all_double = false;
  /// Measure what came out: covariance_error, residual, orthogonality.
  bool check = false;
  /// "h5" or, anything else, npy.
  std::string format;
  /// Shape of a sample that is an image; empty: the data's own.
  std::vector<std::int64_t> image_shape;
};

/// [collective] Reads the samples three times (mean, covariance, transform), or up to
/// `passes` times and twice more where the components are found without the covariance, a piece at
/// a time, and writes whitened, transform (or components, for zca without the covariance), mean,
/// eigenvalues, report.html and, last, summary.json. Throws the documented errors, agreed on all
/// ranks.
ExitCode run_whitening(const Communicator& world, const RunOptions& run,
                       const WhiteningRunOptions& options);

/// [collective] Throws OptionError (agreed) when what the covariance of so many samples takes,
/// matrices of `features` x `features` dealt out or (sums_whole) whole, does not fit into the
/// memory of these ranks, naming what a rank needs and how many ranks would do.
void require_memory(const Communicator& world, std::int64_t samples, std::int64_t features);

}  // namespace eigenscale
