#include "eigenscale/bench/cost_model.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace eigenscale {
namespace {

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

double real(std::int64_t value) { return static_cast<double>(value); }

}  // namespace

double all_reduce_wire(double bytes, std::int64_t ranks) {
  return 2 * bytes * real(ranks - 1) / real(ranks);
}

PhaseCost refinement_pass_cost(const RefinementProblem& problem) {
  const double rows = real(ceil_divide(problem.samples, problem.ranks));
  const double own_clusters = real(ceil_divide(problem.clusters, problem.ranks));
  const double d = real(problem.features);
  const double k = real(problem.clusters);
  const double s = real(problem.dimension);
  PhaseCost cost;
  // Products with all bases; the lower triangle of the moments of the own cluster; eigenproblems.
  cost.flop = 2 * rows * d * k * s + rows * d * (d + 1) + own_clusters * 16.0 / 3 * d * d * d;
  cost.read = 4 * rows * d;
  const double sums = 8 * (k * d * d + k + 3);
  const double gathered = 8 * k * (d * s + s);  // bases and their energies
  // And two agreements: that all rows were read, and that no eigenproblem failed.
  cost.bytes = sums + gathered + 2 * 8;
  cost.messages = 4;
  cost.wire = all_reduce_wire(sums, problem.ranks) +
              gathered * real(problem.ranks - 1) / real(problem.ranks);
  // Labels and residuals; the sums and their copy with the scalars; bases in two precisions.
  cost.memory = 12 * rows + 2 * sums + gathered + 12 * k * d * s;
  return cost;
}

PhaseCost training_step_cost(const TrainingProblem& problem) {
  PhaseCost cost;
  const double samples = real(ceil_divide(problem.batch, problem.ranks));
  cost.flop = 3 * problem.flop_per_sample * samples;
  cost.read = problem.bytes_per_sample * samples;
  cost.memory = 3 * 4 * real(problem.parameters);  // weights, gradients, momentum
  if (problem.ranks > 1) {
    cost.bytes = 4 * real(problem.parameters) + 8;
    cost.messages = real(problem.buckets) + 1;
    cost.wire = all_reduce_wire(problem.last_bucket_bytes + 8, problem.ranks);
    cost.wire_later = all_reduce_wire(cost.bytes, problem.ranks) - cost.wire;
  }
  return cost;
}

PhaseCost self_expression_step_cost(const SelfExpressionProblem& problem) {
  const std::int64_t ranks = problem.grid_rows * problem.grid_columns;
  const double chunk = real(ceil_divide(problem.samples, ranks));
  const double p = real(problem.latent);
  const double rows = real(problem.grid_rows);
  const double columns = real(problem.grid_columns);
  PhaseCost cost;
  const double entries = chunk * columns * chunk * rows;  // of C in the own block
  cost.flop = 6 * entries * p;
  cost.memory = 4 * (3 * entries + 4 * chunk * p);
  const double one = 4 * chunk * p;  // a chunk of samples
  // Forward: a broadcast from each process of the column, a sum to each of the row. Backward: both
  // again, and a sum to each of the column.
  const double broadcasts = (rows > 1 ? 2 * rows : 0) + (columns > 1 ? columns : 0);
  const double sums = columns + rows;
  cost.bytes = (broadcasts + sums) * one;
  cost.messages = broadcasts + sums;
  cost.wire = (3 * (rows - 1) + 2 * (columns - 1)) * one;
  return cost;
}

std::string PhaseTime::most() const {
  const std::vector<std::pair<double, std::string>> parts = {{computation, "computation"},
                                                             {files, "files"},
                                                             {bandwidth, "bandwidth"},
                                                             {latency, "latency"}};
  return std::ranges::max(parts, {}, &std::pair<double, std::string>::first).second;
}

PhaseTime& PhaseTime::operator+=(const PhaseTime& other) {
  computation += other.computation;
  files += other.files;
  latency += other.latency;
  bandwidth += other.bandwidth;
  return *this;
}

PhaseTime predicted_time(const PhaseCost& cost, const MachineRates& rates, std::int64_t ranks) {
  PhaseTime time;
  if (cost.flop > 0) {
    time.computation = cost.flop / rates.flop;
  }
  if (rates.disk > 0) {
    time.files = cost.read / rates.disk;
  }
  if (ranks > 1) {
    time.latency = cost.messages * rates.latency * std::ceil(std::log2(real(ranks)));
    time.bandwidth = cost.wire / rates.bandwidth +
                     (cost.wire_later > 0 ? cost.wire_later / rates.bandwidth_later : 0);
  }
  return time;
}

}  // namespace eigenscale
