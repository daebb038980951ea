#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Seconds of the phases of a run, one after the other, from construction on.
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

 private:
  double start_;
  double phase_start_ = 0;
  std::string current_;
  std::vector<std::pair<std::string, double>> seconds_;
};

}  // namespace eigenscale
