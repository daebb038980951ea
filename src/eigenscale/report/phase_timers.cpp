#include "eigenscale/report/phase_timers.h"

#include <algorithm>

#include "eigenscale/comm/watchdog.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/trace.h"

namespace eigenscale {
namespace {

const std::string kPrefix = "communication.";

std::map<std::string, std::int64_t> communication_counters() {
  std::map<std::string, std::int64_t> result;
  for (const auto& [name, amount] : counters()) {
    if (name.starts_with(kPrefix)) {
      result[name.substr(kPrefix.size())] = amount;
    }
  }
  return result;
}

}  // namespace

PhaseTimers::PhaseTimers() : start_(now_seconds()) {}

void PhaseTimers::begin(const std::string& name) {
  end();
  current_ = name;
  set_watched_phase(name);
  counted_before_ = communication_counters();
  phase_start_ = now_seconds();
}

void PhaseTimers::end() {
  if (current_.empty()) {
    return;
  }
  const double passed = now_seconds() - phase_start_;
  auto phase = std::ranges::find(phases_, current_, &Phase::name);
  if (phase == phases_.end()) {
    phase = phases_.insert(phase, {current_, 0, {}});
  }
  phase->seconds += passed;
  for (const auto& [name, amount] : communication_counters()) {
    phase->counted[name] += amount - counted_before_[name];
  }
  current_.clear();
}

nlohmann::json PhaseTimers::reduce(const Communicator& communicator) const {
  nlohmann::json result;
  result["total"] = all_reduce(communicator, now_seconds() - start_, ReduceOp::kMax);
  for (const auto& phase : phases_) {
    result[phase.name] = all_reduce(communicator, phase.seconds, ReduceOp::kMax);
  }
  return result;
}

nlohmann::json PhaseTimers::reduce_communication(const Communicator& communicator) const {
  auto result = nlohmann::json::object();
  for (const auto& phase : phases_) {
    const auto most = [&](const std::string& counter) {
      const auto found = phase.counted.find(counter);
      return all_reduce(communicator, found == phase.counted.end() ? 0 : found->second,
                        ReduceOp::kMax);
    };
    const std::int64_t nanoseconds = most("nanoseconds");
    const std::int64_t bytes = most("bytes");
    const std::int64_t calls = most("calls");
    if (calls > 0) {
      result[phase.name] = {
          {"seconds", 1e-9 * static_cast<double>(nanoseconds)}, {"bytes", bytes}, {"calls", calls}};
    }
  }
  return result;
}

}  // namespace eigenscale
