#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eigenscale/bench/whitening_cost.h"

namespace eigenscale {

/// How a run of eigenscale-whiten goes about its problem, which the data decide in part.
struct WhiteningWay {
  bool zca = true;
  bool low_rank = false;              ///< components without the covariance
  std::int64_t passes = 8;            ///< of that way
  std::int64_t value_bytes = 4;       ///< of the data
  std::int64_t covariance_bytes = 4;  ///< of numbers in the products for the covariance
  std::int64_t product_bytes = 4;     ///< of numbers in the products with the transform
};

/// N samples of D features by k components (0: all) on P ranks.
struct WhiteningSize {
  std::int64_t samples = 0;
  std::int64_t features = 0;
  std::int64_t components = 0;
  std::int64_t ranks = 1;
};

/// A phase under the name that it has in summary.json.
struct NamedCost {
  std::string phase;
  PhaseCost cost;
};

/// [local] All phases of a run: "mean", "covariance" and "eigenproblem", or
/// "components", "transform"; and "read" and "write" with what the others read and write. Two ranks
/// count as of one host. A covariance that is summed twice, in both precisions, counts as once.
std::vector<NamedCost> whitening_costs(const WhiteningSize& size, const WhiteningWay& way);

/// What was measured of a machine: of a rank, FLOP/s of each phase, bytes/s of "read" and "write".
struct WhiteningRates {
  WhiteningWay way;
  std::map<std::string, double> rate;
  /// By a number of ranks and a phase: the share of its rate that a rank keeps among so many, which
  /// share a memory. Above 1 for the eigenproblem that one rank solves on the cores of two.
  std::map<std::int64_t, std::map<std::string, double>> kept;
  std::string source;  ///< such as "3 runs on 1 rank"
};

/// [local] Medians over the lines on the fewest ranks, each line by the cost of its own size: of
/// runs of eigenscale-whiten, or where there is none of the suite whiten (floats, zca, all
/// components; it reads and writes nothing). What is kept comes from runs on several numbers of
/// ranks, where there are such; `links` tell what they took of them. Lines of the suite do not say
/// it: it goes through all rows at once, a run piece by piece. InputError where neither are there.
WhiteningRates whitening_rates(const std::vector<nlohmann::json>& lines, const MachineRates& links);

/// [local] The rates of one phase of a run of such size: its own, the others those of `links`. A
/// phase "read" or "write" that nothing is known of counts as in memory.
MachineRates whitening_phase_rates(const WhiteningRates& rates, const std::string& phase,
                                   const WhiteningSize& size, const MachineRates& links);

/// [local] The way, the source and the rates in a line for people.
std::string whitening_text(const WhiteningRates& rates);

}  // namespace eigenscale
