#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Seconds of the phases of a run, one after the other, from construction on, and what collectives
/// did in them.
class PhaseTimers {
 public:
  PhaseTimers();
  /// [local] Ends the phase before and begins `name`; one that comes again adds up.
  void begin(const std::string& name);
  /// [local] Ends the last phase.
  void end();
  /// [collective] {"total": s, phase: s, ...}: the largest over ranks. All ranks went through the
  /// same phases.
  nlohmann::json reduce(const Communicator& communicator) const;
  /// [collective] {phase: {"seconds": in collectives, "bytes": handed to them, "calls": of them}}:
  /// each the largest over ranks. Phases without a collective are left out.
  nlohmann::json reduce_communication(const Communicator& communicator) const;

 private:
  struct Phase {
    std::string name;
    double seconds = 0;
    std::map<std::string, std::int64_t> counted;  ///< of the counters "communication."
  };

  double start_;
  double phase_start_ = 0;
  std::string current_;
  std::map<std::string, std::int64_t> counted_before_;
  std::vector<Phase> phases_;
};

}  // namespace eigenscale
