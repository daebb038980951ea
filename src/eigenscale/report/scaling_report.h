#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "eigenscale/report/scaling_study.h"

namespace eigenscale {

/// [local] Studies of ascending N as a page: how time, memory and bytes grow with N where there are
/// several; speed-up, efficiency, time by phase, memory and bytes of the last; medians and ranges
/// of all in tables. Beside it a study of another machine or commit, where one is given.
std::string scaling_report(const std::vector<ScalingStudy>& studies,
                           const std::optional<ScalingStudy>& reference);

/// [local] Whether a directory is that of a study.
bool is_study(const std::filesystem::path& directory);

/// [local] Writes report.html and scaling.svg into the folder `output`, which may be that of a
/// study and is created, beside the study in the file `reference` where that is not empty, and
/// returns the tables. InputError as read_studies, OutputError.
std::string report_studies(const std::vector<std::filesystem::path>& directories,
                           const std::string& reference, const std::filesystem::path& output);

/// [local] The same numbers as an aligned table for a terminal.
std::string scaling_table(const ScalingStudy& study);

}  // namespace eigenscale
