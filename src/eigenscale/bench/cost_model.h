#pragma once

#include <cstdint>
#include <string>

namespace eigenscale {

/// What one phase costs the rank that has most to do. Formulas and derivations: docs/cost-model.md.
struct PhaseCost {
  double flop = 0;        ///< floating-point operations
  double read = 0;        ///< bytes from files, or to them
  double bytes = 0;       ///< handed to collectives, as the counter communication.bytes counts them
  double messages = 0;    ///< collectives, as communication.calls counts them
  double wire = 0;        ///< bytes that this rank's link carries in one direction, blocking calls
  double wire_later = 0;  ///< the same of non-blocking calls
  double memory = 0;      ///< bytes that the phase holds
};

/// N rows of d features, K subspaces of s dimensions, P ranks.
struct RefinementProblem {
  std::int64_t samples = 0;
  std::int64_t features = 0;
  std::int64_t clusters = 0;
  std::int64_t dimension = 0;
  std::int64_t ranks = 1;
};

/// [local] One pass of refine_subspaces by moments (K d^2 at most 2^25 numbers).
PhaseCost refinement_pass_cost(const RefinementProblem& problem);

/// A network of so many parameters; `flop_per_sample` of a forward pass.
struct TrainingProblem {
  std::int64_t batch = 0;  ///< of all ranks
  std::int64_t parameters = 0;
  double flop_per_sample = 0;
  double bytes_per_sample = 0;
  std::int64_t buckets = 1;
  double last_bucket_bytes = 0;  ///< of gradients, which a blocking sum carries
  std::int64_t ranks = 1;
};

/// [local] One step of DataParallelStep, one scalar (the loss) with it.
PhaseCost training_step_cost(const TrainingProblem& problem);

/// N samples of p latent features on a Pr x Pc grid, single precision.
struct SelfExpressionProblem {
  std::int64_t samples = 0;
  std::int64_t latent = 0;
  std::int64_t grid_rows = 1;
  std::int64_t grid_columns = 1;
};

/// [local] Forward, backward and update of the full coefficients.
PhaseCost self_expression_step_cost(const SelfExpressionProblem& problem);

/// [local] Bytes that one rank's link carries for an all-reduce of `bytes` over P ranks:
/// reduce-scatter and all-gather, 2 (P - 1) / P of them.
double all_reduce_wire(double bytes, std::int64_t ranks);

/// What a machine does in a second, or how long it takes.
struct MachineRates {
  double flop = 0;             ///< of one rank in this phase, FLOP/s
  double latency = 0;          ///< of one collective, s, times log2 P
  double bandwidth = 0;        ///< of a rank's link while blocking sums run, bytes/s
  double bandwidth_later = 0;  ///< while non-blocking sums run
  double disk = 0;  ///< of a rank at its files, bytes/s; 0: what is read counts as in memory
};

/// Seconds of a phase by what they go to, one behind the other, nothing overlapped.
struct PhaseTime {
  double computation = 0;
  double files = 0;
  double latency = 0;
  double bandwidth = 0;

  double communication() const { return latency + bandwidth; }
  double total() const { return computation + files + communication(); }
  /// Which of the four is largest, by name.
  std::string most() const;
  PhaseTime& operator+=(const PhaseTime& other);
};

/// [local] What a phase takes on so many ranks.
PhaseTime predicted_time(const PhaseCost& cost, const MachineRates& rates, std::int64_t ranks);

}  // namespace eigenscale
