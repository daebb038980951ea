#include "eigenscale/report/scaling_study.h"

#include <algorithm>
#include <fstream>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

using Lines = std::vector<nlohmann::json>;

InputError wrong_line(const std::filesystem::path& path, std::size_t number,
                      const std::string& what) {
  return InputError("'" + path.string() + "' line " + std::to_string(number) + ": " + what);
}

/// A number at `pointer`; 0 where there is none.
double number_at(const nlohmann::json& line, const std::string& pointer) {
  const nlohmann::json::json_pointer at(pointer);
  return line.contains(at) && line.at(at).is_number() ? line.at(at).get<double>() : 0;
}

Spread spread_at(const Lines& lines, const std::string& pointer) {
  std::vector<double> values;
  for (const auto& line : lines) {
    values.push_back(number_at(line, pointer));
  }
  return spread_of(std::move(values));
}

StudyPoint make_point(std::int64_t ranks, const Lines& lines) {
  StudyPoint point;
  point.ranks = ranks;
  point.hosts = static_cast<std::int64_t>(number_at(lines.front(), "/hosts"));
  point.repeats = std::ssize(lines);
  point.total = spread_at(lines, "/seconds/total");
  for (const auto& [phase, seconds] : lines.front()["seconds"].items()) {
    if (phase != "total") {
      point.phases[phase] = {spread_at(lines, "/seconds/" + phase),
                             spread_at(lines, "/communication/" + phase + "/seconds")};
    }
  }
  point.communication = spread_at(lines, "/communication/total/seconds");
  point.bytes = spread_at(lines, "/communication/total/bytes");
  point.calls = spread_at(lines, "/communication/total/calls");
  point.memory = spread_at(lines, "/peak_memory_bytes/max_rank");
  return point;
}

/// One line; throws InputError unless it belongs to the study that the ones before began.
nlohmann::json read_line(const std::filesystem::path& path, std::size_t number,
                         const std::string& text, const nlohmann::json& first) {
  nlohmann::json line;
  try {
    line = nlohmann::json::parse(text);
  } catch (const nlohmann::json::exception& error) {
    throw wrong_line(path, number, error.what());
  }
  for (const char* key : {"schema_version", "program", "mode", "ranks", "seconds"}) {
    if (!line.is_object() || !line.contains(key)) {
      throw wrong_line(path, number, std::string("has no ") + key);
    }
  }
  if (line["schema_version"] != 1) {
    throw wrong_line(path, number,
                     "schema_version is " + line["schema_version"].dump() + "; expected 1");
  }
  if (!line["ranks"].is_number_integer() || line["ranks"] < 1 ||
      !(number_at(line, "/seconds/total") > 0)) {
    throw wrong_line(path, number, "expected positive ranks and seconds.total");
  }
  for (const char* key : {"program", "mode"}) {
    if (!first.is_null() && line[key] != first[key]) {
      throw wrong_line(path, number,
                       std::string(key) + " is " + line[key].dump() + ", but was " +
                           first[key].dump() + " in the lines before");
    }
  }
  return line;
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  std::ranges::sort(values);
  const auto middle = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

double ScalingStudy::speed_up(const StudyPoint& point, double seconds) const {
  const double growth =
      static_cast<double>(point.ranks) / static_cast<double>(points.front().ranks);
  return points.front().total.median / seconds * (weak ? growth : 1);
}

double ScalingStudy::efficiency(const StudyPoint& point, double seconds) const {
  return speed_up(point, seconds) * static_cast<double>(points.front().ranks) /
         static_cast<double>(point.ranks);
}

ScalingStudy read_study(const std::filesystem::path& path) {
  std::ifstream file(path);
  if (!file) {
    throw InputError("cannot read the study '" + path.string() + "'");
  }
  std::map<std::int64_t, Lines> by_ranks;
  nlohmann::json first;
  std::string text;
  for (std::size_t number = 1; std::getline(file, text); ++number) {
    auto line = read_line(path, number, text, first);
    if (first.is_null()) {
      first = line;
    }
    by_ranks[line["ranks"].get<std::int64_t>()].push_back(std::move(line));
  }
  if (first.is_null()) {
    throw InputError("'" + path.string() + "' holds no run");
  }
  const auto& smallest = by_ranks.begin()->second.front();
  ScalingStudy study{.program = first["program"].get<std::string>(),
                     .machine = smallest.value("machine", ""),
                     .commit = smallest.value("commit", ""),
                     .weak = first["mode"] == "weak",
                     .threads = static_cast<std::int64_t>(number_at(smallest, "/threads")),
                     .options = smallest.value("options", std::vector<std::string>{}),
                     .points = {}};
  for (const auto& [ranks, lines] : by_ranks) {
    study.points.push_back(make_point(ranks, lines));
  }
  return study;
}

}  // namespace eigenscale
