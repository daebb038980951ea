#pragma once

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace eigenscale {

/// Middle, least and largest of the repeats.
struct Spread {
  double median = 0;
  double least = 0;
  double most = 0;
};

/// [local] Of at least one value.
Spread spread_of(std::vector<double> values);

/// A phase of all repeats of one number of ranks.
struct PhaseSpread {
  Spread seconds;
  Spread communication;  ///< seconds in collectives, of the rank with most
  Spread bytes;          ///< that a rank hands to collectives, of the rank with most
};

/// All repeats of one number of ranks.
struct StudyPoint {
  std::int64_t ranks = 0;
  std::int64_t hosts = 0;
  std::int64_t repeats = 0;
  std::int64_t samples = 0;  ///< N; 0 where no line says it
  std::int64_t passes = 0;   ///< of the refinement of a clustering; 0 for all others
  Spread total;              ///< seconds of the whole run
  std::map<std::string, PhaseSpread> phases;
  Spread communication;  ///< seconds in collectives, of the rank with most
  Spread bytes;          ///< that a rank hands to collectives, of the rank with most
  Spread calls;          ///< of collectives
  Spread memory;         ///< peak bytes of the rank with most
};

/// What job-scripts/scaling/study collected: one line a finished run. A strong study is of one N, a
/// weak one of one N a rank.
struct ScalingStudy {
  std::string program;
  std::string machine;
  std::string commit;
  bool weak = false;
  std::int64_t threads = 0;
  std::vector<std::string> options;  ///< of the smallest number of ranks
  std::vector<StudyPoint> points;    ///< by ascending ranks; the first is the base

  /// Against the base, in runs of median length: T_b / T_p (strong), and the same times p / p_b
  /// (weak: the work has grown so much).
  double speed_up(const StudyPoint& point, double seconds) const;
  /// T_b p_b / (T_p p) (strong), T_b / T_p (weak).
  double efficiency(const StudyPoint& point, double seconds) const;
};

/// [local] Reads files study.jsonl of one program and mode: a study for each N (of a rank, where it
/// is weak), by ascending N. InputError names file, line and what is wrong, such as runs of two
/// programs or modes.
std::vector<ScalingStudy> read_studies(const std::vector<std::filesystem::path>& paths);

/// [local] The same for one file of one N; InputError where there are more.
ScalingStudy read_study(const std::filesystem::path& path);

}  // namespace eigenscale
