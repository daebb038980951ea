#include "eigenscale/report/scaling_report.h"

#include <algorithm>
#include <set>

#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/format.h"
#include "eigenscale/core/number_text.h"
#include "eigenscale/report/html_report.h"
#include "eigenscale/report/scaling_pictures.h"
#include "eigenscale/report/svg_plot.h"

namespace eigenscale {
namespace {

using Rows = std::vector<std::vector<std::string>>;

std::string name_of(const ScalingStudy& study) {
  return study.machine + (study.commit.empty() ? "" : " at " + study.commit);
}

/// Median with the best and the worst repeat, of the study and of the reference.
std::vector<Series> with_range(const ScalingStudy& study, const std::optional<ScalingStudy>& other,
                               double (ScalingStudy::*value)(const StudyPoint&, double) const) {
  std::vector<Series> series = {
      curve_over_ranks(
          "median", study,
          [&](const auto& point) { return (study.*value)(point, point.total.median); }),
      curve_over_ranks("best repeat", study,
                       [&](const auto& point) { return (study.*value)(point, point.total.least); }),
      curve_over_ranks("worst repeat", study,
                       [&](const auto& point) { return (study.*value)(point, point.total.most); })};
  if (other) {
    series.push_back(curve_over_ranks(
        "reference: " + name_of(*other), *other,
        [&](const auto& point) { return ((*other).*value)(point, point.total.median); }));
  }
  return series;
}

std::vector<Series> by_phase(const ScalingStudy& study) {
  std::set<std::string> names;
  for (const auto& point : study.points) {
    for (const auto& [name, seconds] : point.phases) {
      names.insert(name);
    }
  }
  std::vector<Series> series;
  for (const auto& name : names) {
    series.push_back(curve_over_ranks(name, study, [&](const StudyPoint& point) {
      const auto found = point.phases.find(name);
      return found == point.phases.end() ? 0 : found->second.seconds.median;
    }));
  }
  if (std::ranges::any_of(study.points,
                          [](const auto& point) { return point.communication.median > 0; })) {
    series.push_back(
        curve_over_ranks("of all phases: in collectives", study,
                         [](const auto& point) { return point.communication.median; }));
  }
  return series;
}

std::string range_text(const Spread& spread) {
  return format_text("{:.4g} ({:.4g} to {:.4g})", spread.median, spread.least, spread.most);
}

Rows table_of(const ScalingStudy& study) {
  Rows rows = {{"ranks", "samples", "hosts", "repeats", "seconds (range)", "speed-up", "efficiency",
                "memory of a rank", "bytes of a rank", "collectives"}};
  for (const auto& point : study.points) {
    const double seconds = point.total.median;
    rows.push_back({std::to_string(point.ranks),
                    point.samples > 0 ? count_text(point.samples) : "-",
                    std::to_string(point.hosts), std::to_string(point.repeats),
                    range_text(point.total), format_text("{:.2f}", study.speed_up(point, seconds)),
                    format_text("{:.2f}", study.efficiency(point, seconds)),
                    bytes_text(point.memory.median), bytes_text(point.bytes.median),
                    count_text(static_cast<std::int64_t>(point.calls.median))});
  }
  return rows;
}

Rows phase_table(const ScalingStudy& study) {
  Rows rows = {{"phase"}};
  for (const auto& point : study.points) {
    rows[0].push_back(format_text("{} ranks, s", point.ranks));
  }
  const auto add = [&](const std::string& phase, const std::string& label,
                       Spread PhaseSpread::*part) {
    auto& row = rows.emplace_back(1, label);
    for (const auto& point : study.points) {
      const auto found = point.phases.find(phase);
      row.push_back(found == point.phases.end() ? "-" : range_text(found->second.*part));
    }
  };
  for (const auto& [name, ignored] : study.points.front().phases) {
    add(name, name, &PhaseSpread::seconds);
    if (std::ranges::any_of(study.points, [&phase = name](const auto& point) {
          const auto found = point.phases.find(phase);
          return found != point.phases.end() && found->second.communication.median > 0;
        })) {
      add(name, name + ": in collectives", &PhaseSpread::communication);
    }
  }
  return rows;
}

}  // namespace

std::string scaling_report(const std::vector<ScalingStudy>& studies,
                           const std::optional<ScalingStudy>& reference) {
  const auto& study = studies.back();
  const auto& base = study.points.front();
  const auto& last = study.points.back();
  const std::string kind = study.weak ? "weak" : "strong";
  const std::string base_text = format_text("The base is {} rank{}: {:.4g} s.", base.ranks,
                                            base.ranks == 1 ? "" : "s", base.total.median);
  HtmlReport page(format_text("{}: {} scaling", study.program, kind),
                  format_text("{}, {} threads a rank; {} {}", name_of(study), study.threads,
                              study.program, joined(study.options, " ")));
  page.add_figure(format_text("{:.2f}", study.efficiency(last, last.total.median)),
                  format_text("efficiency at {} ranks", last.ranks));
  page.add_figure(format_text("{:.2f}", study.speed_up(last, last.total.median)), "speed-up");
  page.add_figure(bytes_text(last.memory.median), "memory of a rank");
  for (const auto& point : study.points) {
    if (point.repeats < 3) {
      page.add_warning(format_text("{} ranks ran {} times only; three are the least for a range",
                                   point.ranks, point.repeats));
    }
  }
  const auto plot = [](const std::vector<Series>& series, const std::string& y) {
    return svg_plot(series, {.x_label = "ranks", .y_label = y, .from_zero = true});
  };
  auto speed_up = with_range(study, reference, &ScalingStudy::speed_up);
  speed_up.push_back(curve_over_ranks("ideal", study, [&](const auto& point) {
    return static_cast<double>(point.ranks) / static_cast<double>(base.ranks);
  }));
  for (const auto& panel : panels_over_samples(studies)) {
    page.add_section(panel.heading, "Medians, of the rank with most.",
                     svg_plot(panel.series, panel.options));
  }
  page.add_section("Speed-up", base_text + (study.weak ? " The work grows with the ranks." : ""),
                   plot(speed_up, "speed-up"));
  page.add_section("Efficiency",
                   base_text + (study.weak ? " T_base / T." : " T_base ranks_base / (T ranks)."),
                   plot(with_range(study, reference, &ScalingStudy::efficiency), "efficiency"));
  page.add_section("Time by phase", "Medians of the slowest rank; collectives run within phases.",
                   plot(by_phase(study), "seconds"));
  page.add_section(
      "Memory of a rank", "Peak resident set of the rank with most.",
      plot({curve_over_ranks("median", study,
                             [](const auto& point) { return point.memory.median / 1048576; })},
           "MiB"));
  page.add_section(
      "Bytes", "Handed to collectives by the rank that hands over most.",
      plot({curve_over_ranks("median", study,
                             [](const auto& point) { return point.bytes.median / 1e6; })},
           "MB"));
  for (const auto& one : studies) {
    page.add_table("All numbers", "Median and range of the repeats.", table_of(one));
  }
  page.add_table(
      "Phases",
      "Seconds of the slowest rank, and of the rank with most within collectives: waiting "
      "for others and moving data. Median and range.",
      phase_table(study));
  if (reference) {
    page.add_table("Reference", name_of(*reference), table_of(*reference));
  }
  return page.html();
}

bool is_study(const std::filesystem::path& directory) {
  std::error_code ignored;
  return std::filesystem::exists(directory / "study.jsonl", ignored);
}

std::string report_studies(const std::vector<std::filesystem::path>& directories,
                           const std::string& reference, const std::filesystem::path& output) {
  std::vector<std::filesystem::path> files;
  for (const auto& directory : directories) {
    files.push_back(directory / "study.jsonl");
  }
  const auto studies = read_studies(files);
  std::optional<ScalingStudy> other;
  if (!reference.empty()) {
    other = read_study(reference);
    if (other->program != studies.back().program || other->weak != studies.back().weak) {
      throw InputError("'" + reference + "' is a study of another program or mode than '" +
                       directories.front().string() + "'");
    }
  }
  std::filesystem::create_directories(output);
  write_file(output / "report.html", scaling_report(studies, other));
  write_file(output / "scaling.svg", scaling_svg(studies));
  std::string tables;
  for (const auto& study : studies) {
    tables += scaling_table(study);
  }
  return tables;
}

std::string scaling_table(const ScalingStudy& study) {
  const auto rows = table_of(study);
  std::string text;
  for (const auto& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      std::size_t width = 0;
      for (const auto& other : rows) {
        width = std::max(width, other[column].size());
      }
      text += format_text("{:<{}}", row[column], width + 2);
    }
    text += "\n";
  }
  return text;
}

}  // namespace eigenscale
