#pragma once

#include <optional>
#include <string>

#include "eigenscale/report/scaling_study.h"

namespace eigenscale {

/// [local] The study as a page: speed-up, efficiency, time by phase, memory, bytes; medians and
/// ranges in a table. Beside it a study of another machine or commit, where one is given.
std::string scaling_report(const ScalingStudy& study, const std::optional<ScalingStudy>& reference);

/// [local] Whether a directory is that of a study.
bool is_study(const std::filesystem::path& directory);

/// [local] Writes DIRECTORY/report.html, beside the study in the file `reference` where that is not
/// empty, and returns the table. InputError as read_study, OutputError.
std::string report_study(const std::filesystem::path& directory, const std::string& reference);

/// [local] The same numbers as an aligned table for a terminal.
std::string scaling_table(const ScalingStudy& study);

}  // namespace eigenscale
