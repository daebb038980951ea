#include "eigenscale/report/scaling_pictures.h"

#include <algorithm>
#include <map>

#include "eigenscale/core/format.h"
#include "eigenscale/core/number_text.h"

namespace eigenscale {
namespace {

constexpr const char* kRefinement = "refine";
constexpr double kMebibyte = 1048576;

using ValueOfPoint = std::function<double(const StudyPoint&)>;

/// A curve for each number of ranks that any of the studies has.
std::vector<Series> curves_over_samples(const std::vector<ScalingStudy>& studies,
                                        const ValueOfPoint& value) {
  std::map<std::int64_t, Series> by_ranks;
  for (const auto& study : studies) {
    for (const auto& point : study.points) {
      auto& series = by_ranks[point.ranks];
      series.name = std::to_string(point.ranks) + (point.ranks == 1 ? " rank" : " ranks");
      series.x.push_back(static_cast<double>(point.samples));
      series.y.push_back(value(point));
    }
  }
  std::vector<Series> curves;
  for (auto& [ranks, series] : by_ranks) {
    curves.push_back(std::move(series));
  }
  return curves;
}

double seconds_of(const StudyPoint& point) { return point.total.median; }

double memory_of(const StudyPoint& point) { return point.memory.median / kMebibyte; }

double megabytes_of(const StudyPoint& point) { return 1e-6 * point.bytes.median; }

/// Of one pass; 0 where there is none.
double in_a_pass(const StudyPoint& point, Spread PhaseSpread::*what) {
  const auto found = point.phases.find(kRefinement);
  return found == point.phases.end() || point.passes == 0
             ? 0
             : (found->second.*what).median / static_cast<double>(point.passes);
}

SvgPanel over_ranks(const std::string& heading, const std::string& y, std::vector<Series> curves) {
  return {heading,
          std::move(curves),
          {.x_label = "ranks", .y_label = y, .from_zero = true, .dots = true}};
}

std::vector<SvgPanel> panels_over_ranks(const ScalingStudy& study) {
  const auto one = [&](const std::string& name, const ValueOfPoint& value) {
    return std::vector<Series>{curve_over_ranks(name, study, value)};
  };
  auto seconds = one("median", seconds_of);
  seconds.push_back(
      curve_over_ranks("best", study, [](const auto& point) { return point.total.least; }));
  seconds.push_back(
      curve_over_ranks("worst", study, [](const auto& point) { return point.total.most; }));
  auto efficiency =
      one("median", [&](const auto& point) { return study.efficiency(point, point.total.median); });
  // The axis begins there.
  efficiency.push_back({"zero", {static_cast<double>(study.points.front().ranks)}, {0}});
  return {over_ranks("Seconds of a run", "seconds", std::move(seconds)),
          over_ranks("Efficiency", "efficiency", std::move(efficiency)),
          over_ranks("Memory of a rank, peak resident set", "MiB", one("median", memory_of)),
          over_ranks("Handed to collectives by a rank", "MB", one("median", megabytes_of))};
}

}  // namespace

Series curve_over_ranks(const std::string& name, const ScalingStudy& study,
                        const ValueOfPoint& value) {
  Series series{name, {}, {}};
  for (const auto& point : study.points) {
    series.x.push_back(static_cast<double>(point.ranks));
    series.y.push_back(value(point));
  }
  return series;
}

std::vector<SvgPanel> panels_over_samples(const std::vector<ScalingStudy>& studies) {
  const auto known = [](const ScalingStudy& study) {
    return std::ranges::all_of(study.points, [](const auto& point) { return point.samples > 0; });
  };
  if (studies.size() < 2 || !std::ranges::all_of(studies, known)) {
    return {};
  }
  const auto panel = [&](const std::string& heading, const std::string& y, bool log_y,
                         const ValueOfPoint& value) {
    return SvgPanel{heading,
                    curves_over_samples(studies, value),
                    {.x_label = "samples",
                     .y_label = y,
                     .log_x = true,
                     .log_y = log_y,
                     .from_zero = true,
                     .dots = true}};
  };
  std::vector<Series> times;
  for (const auto& study : studies) {
    times.push_back(curve_over_ranks(
        "N = " + count_text(study.points.front().samples) + (study.weak ? " at first" : ""), study,
        seconds_of));
  }
  std::vector<SvgPanel> panels = {
      panel("Seconds of a run", "seconds", true, seconds_of),
      over_ranks("Seconds of a run", "seconds", std::move(times)),
      panel("Memory of a rank, peak resident set", "MiB", false, memory_of),
      panel("Handed to collectives by a rank", "MB", false, megabytes_of)};
  if (std::ranges::any_of(studies.front().points, [](const auto& point) {
        return in_a_pass(point, &PhaseSpread::seconds) > 0;
      })) {
    panels.push_back(
        panel("Seconds of a pass of refinement", "seconds", true,
              [](const auto& point) { return in_a_pass(point, &PhaseSpread::seconds); }));
    panels.push_back(
        panel("Handed to collectives by a rank in a pass of refinement", "bytes", false,
              [](const auto& point) { return in_a_pass(point, &PhaseSpread::bytes); }));
  }
  return panels;
}

std::string scaling_svg(const std::vector<ScalingStudy>& studies) {
  const auto& study = studies.back();
  auto panels = panels_over_samples(studies);
  auto title = format_text("{}, {} scaling", study.program, study.weak ? "weak" : "strong");
  if (panels.empty()) {
    panels = panels_over_ranks(study);
    if (const auto samples = study.points.front().samples; samples > 0) {
      title += format_text(", N = {}{}", count_text(samples),
                           study.weak ? " on " + std::to_string(study.points.front().ranks) : "");
    }
  }
  return svg_page(title + "; medians; " + study.machine + " at " + study.commit, panels);
}

}  // namespace eigenscale
