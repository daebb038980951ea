#include "eigenscale/report/phase_timers.h"

#include <algorithm>

#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/clock.h"

namespace eigenscale {

PhaseTimers::PhaseTimers() : start_(now_seconds()) {}

void PhaseTimers::begin(const std::string& name) {
  end();
  current_ = name;
  set_watched_phase(name);
  phase_start_ = now_seconds();
}

void PhaseTimers::end() {
  if (current_.empty()) {
    return;
  }
  const double passed = now_seconds() - phase_start_;
  const auto known =
      std::ranges::find_if(seconds_, [&](const auto& entry) { return entry.first == current_; });
  if (known != seconds_.end()) {
    known->second += passed;
  } else {
    seconds_.emplace_back(current_, passed);
  }
  current_.clear();
}

nlohmann::json PhaseTimers::reduce(const Communicator& communicator) const {
  nlohmann::json result;
  result["total"] = all_reduce(communicator, now_seconds() - start_, ReduceOp::kMax);
  for (const auto& [name, seconds] : seconds_) {
    result[name] = all_reduce(communicator, seconds, ReduceOp::kMax);
  }
  return result;
}

}  // namespace eigenscale
