#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace eigenscale {

/// [local] report.html of a run of eigenscale-compress from its summary: before and after.
std::string compression_report(const std::string& model, const nlohmann::json& summary);

}  // namespace eigenscale
