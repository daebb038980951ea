#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace eigenscale {

/// [local] report.html of a training run from its lines of metrics and its summary.
std::string training_report(const std::string& network, const std::vector<nlohmann::json>& lines,
                            const nlohmann::json& summary);

/// [local] Seconds of one step, largest over ranks: forward, backward, exposed (waiting for
/// gradients), alone (their messages with nothing else going on), and the bound that overlap cannot
/// beat, forward + max(backward, alone). `timers` are those of TreeTimer::reduce.
nlohmann::json communication_summary(const nlohmann::json& timers, double alone);

}  // namespace eigenscale
