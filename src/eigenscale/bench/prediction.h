#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "eigenscale/bench/cost_model.h"

namespace eigenscale {

/// What `eigenscale-report --predict` is asked.
struct PredictionOptions {
  /// A phase: "train-step" (size batch x width, the perceptron of the suite), "self-expression"
  /// (N x latent) or "subspaces" (a pass of refinement: N x features x clusters x dimension).
  std::string phase;
  std::vector<std::int64_t> size;
  std::vector<std::int64_t> ranks;
  /// Files of lines that eigenscale-bench printed on the machine: the phase's suite, and allreduce
  /// on two ranks or more where more than one are asked for.
  std::vector<std::filesystem::path> rates;
  double disk = 0;  ///< bytes a second that a rank reads; 0: rows lie in memory

  /// [local] OptionError.
  void validate() const;
};

/// [local] The cost of the phase on so many ranks.
PhaseCost cost_of(const PredictionOptions& options, std::int64_t ranks);

/// [local] Median rates from lines of eigenscale-bench. InputError for a file that cannot be read,
/// or lacks what the prediction needs; says which suite to run.
MachineRates read_rates(const PredictionOptions& options);

/// [local] An aligned table: for each number of ranks seconds (computation, communication,
/// reading), efficiency against the first, memory of a rank, bytes over its link, and what takes
/// most.
std::string predict(const PredictionOptions& options);

}  // namespace eigenscale
