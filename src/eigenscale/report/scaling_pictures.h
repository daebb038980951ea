#pragma once

#include <functional>
#include <string>
#include <vector>

#include "eigenscale/report/scaling_study.h"
#include "eigenscale/report/svg_plot.h"

namespace eigenscale {

/// [local] A value of every point against its number of ranks.
Series curve_over_ranks(const std::string& name, const ScalingStudy& study,
                        const std::function<double(const StudyPoint&)>& value);

/// [local] Time, memory and bytes of a rank against N, a curve for each number of ranks; time
/// against ranks, a curve for each N; of a clustering also time and bytes of a pass of refinement.
/// For studies of several N, all of them known; none otherwise.
std::vector<SvgPanel> panels_over_samples(const std::vector<ScalingStudy>& studies);

/// [local] Those panels, or of one study time, efficiency, memory and bytes against ranks, as an
/// SVG of its own.
std::string scaling_svg(const std::vector<ScalingStudy>& studies);

}  // namespace eigenscale
