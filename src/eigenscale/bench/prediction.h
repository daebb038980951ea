#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace eigenscale {

/// What `eigenscale-report --predict` is asked.
struct PredictionOptions {
  /// "train-step" (size batch x width, the perceptron of the suite), "self-expression" (N x
  /// latent), "subspaces" (a pass of refinement: N x features x clusters x dimension), or "whiten",
  /// a run of eigenscale-whiten with all its phases (N x features [x components]).
  std::string phase;
  std::vector<std::int64_t> size;
  std::vector<std::int64_t> ranks;
  /// Files of lines that eigenscale-bench printed on the machine: the phase's suite, and allreduce
  /// on two ranks or more where more than one are asked for. For "whiten" also study.jsonl, or the
  /// directories of runs.
  std::vector<std::filesystem::path> rates;
  /// Bytes a second of a rank at its files; 0: rows lie in memory, or what the runs show.
  double disk = 0;

  /// [local] OptionError.
  void validate() const;
};

/// [local] An aligned table: for each number of ranks and each phase seconds (computation,
/// communication, files), efficiency against the first number, memory of a rank, bytes that it
/// hands to collectives, messages, bytes over its link, and what takes most. InputError for rates
/// that cannot be read, or lack what the prediction needs; says which suite to run.
std::string predict(const PredictionOptions& options);

}  // namespace eigenscale
