#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace eigenscale {

/// [local] The summaries of finished runs side by side, as an aligned table. InputError names the
/// directory that holds no readable summary.json.
std::string compare_runs(const std::vector<std::filesystem::path>& directories);

}  // namespace eigenscale
