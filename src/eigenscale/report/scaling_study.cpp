#include "eigenscale/report/scaling_study.h"

#include <algorithm>
#include <fstream>
#include <limits>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

using Lines = std::vector<nlohmann::json>;

InputError wrong_line(const std::filesystem::path& path, std::size_t number,
                      const std::string& what) {
  return InputError("'" + path.string() + "' line " + std::to_string(number) + ": " + what);
}

/// What a field may be.
struct Field {
  const char* expected;
  bool (*fits)(const nlohmann::json& value);
};

bool is_amount(const nlohmann::json& value) { return value.is_number() && value >= 0; }

bool is_text(const nlohmann::json& value) { return value.is_string(); }

bool is_count(const nlohmann::json& value) {
  return value.is_number_integer() && value >= 0 && value <= std::numeric_limits<int>::max();
}

/// Fields that are read from a line, by key.
const std::map<std::string, Field>& fields() {
  constexpr const char* kText = "a text";
  constexpr const char* kCount = "a whole number from 0 to 2^31 - 1";
  static const std::map<std::string, Field> all = {
      {"program", {kText, is_text}},
      {"machine", {kText, is_text}},
      {"commit", {kText, is_text}},
      {"mode",
       {"strong or weak",
        [](const nlohmann::json& value) { return value == "strong" || value == "weak"; }}},
      {"hosts", {kCount, is_count}},
      {"samples",
       {"a whole number from 1 to 2^53",
        [](const nlohmann::json& value) {
          return value.is_number_integer() && value >= 1 && value <= std::int64_t{1} << 53;
        }}},
      {"choices",
       {"choices by name", [](const nlohmann::json& value) { return value.is_object(); }}},
      {"threads", {kCount, is_count}},
      {"ranks",
       {"a whole number from 1 to 2^31 - 1",
        [](const nlohmann::json& value) { return is_count(value) && value >= 1; }}},
      {"options",
       {"a list of texts",
        [](const nlohmann::json& value) {
          return value.is_array() && std::ranges::all_of(value, is_text);
        }}},
      {"seconds",
       {"numbers of at least 0 by phase, and a positive total",
        [](const nlohmann::json& value) {
          return value.is_object() && std::ranges::all_of(value, is_amount) &&
                 value.contains("total") && value["total"] > 0;
        }}},
      {"peak_memory_bytes",
       {"numbers of at least 0",
        [](const nlohmann::json& value) {
          return value.is_object() && std::ranges::all_of(value, is_amount);
        }}},
      {"communication",
       {"numbers of at least 0 by phase", [](const nlohmann::json& value) {
          return value.is_object() && std::ranges::all_of(value, [](const nlohmann::json& phase) {
                   return phase.is_object() && std::ranges::all_of(phase, is_amount);
                 });
        }}}};
  return all;
}

/// A number at the end of `keys`; 0 where there is none.
double number_at(const nlohmann::json& line, const std::vector<std::string>& keys) {
  const auto* at = &line;
  for (const auto& key : keys) {
    const auto found = at->find(key);
    if (found == at->end()) {
      return 0;
    }
    at = &*found;
  }
  return at->get<double>();
}

Spread spread_at(const Lines& lines, const std::vector<std::string>& keys) {
  std::vector<double> values;
  for (const auto& line : lines) {
    values.push_back(number_at(line, keys));
  }
  return spread_of(std::move(values));
}

/// A whole number of at least 0; 0 where there is none.
std::int64_t count_at(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && is_count(*found) ? found->get<std::int64_t>() : 0;
}

/// What the runs of one study have in common: N, or what falls on a rank.
std::int64_t size_of_study(const nlohmann::json& line) {
  const auto samples = line.value("samples", std::int64_t{0});
  return line["mode"] == "weak" ? samples / line["ranks"].get<std::int64_t>() : samples;
}

StudyPoint make_point(std::int64_t ranks, const Lines& lines) {
  StudyPoint point;
  point.ranks = ranks;
  point.hosts = lines.front().value("hosts", std::int64_t{0});
  point.repeats = std::ssize(lines);
  point.samples = lines.front().value("samples", std::int64_t{0});
  point.passes = count_at(lines.front().value("choices", nlohmann::json::object()), "passes");
  point.total = spread_at(lines, {"seconds", "total"});
  for (const auto& [phase, seconds] : lines.front()["seconds"].items()) {
    if (phase != "total") {
      point.phases[phase] = {spread_at(lines, {"seconds", phase}),
                             spread_at(lines, {"communication", phase, "seconds"}),
                             spread_at(lines, {"communication", phase, "bytes"})};
    }
  }
  point.communication = spread_at(lines, {"communication", "total", "seconds"});
  point.bytes = spread_at(lines, {"communication", "total", "bytes"});
  point.calls = spread_at(lines, {"communication", "total", "calls"});
  point.memory = spread_at(lines, {"peak_memory_bytes", "max_rank"});
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
  for (const auto& [key, field] : fields()) {
    if (line.contains(key) && !field.fits(line[key])) {
      throw wrong_line(path, number,
                       key + " is " + line[key].dump() + "; expected " + field.expected);
    }
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

std::vector<ScalingStudy> read_studies(const std::vector<std::filesystem::path>& paths) {
  std::map<std::int64_t, std::map<std::int64_t, Lines>> by_size;  // and by ranks
  nlohmann::json first;
  for (const auto& path : paths) {
    std::ifstream file(path);
    if (!file) {
      throw InputError("cannot read the study '" + path.string() + "'");
    }
    std::string text;
    std::size_t number = 0;
    while (std::getline(file, text)) {
      auto line = read_line(path, ++number, text, first);
      if (first.is_null()) {
        first = line;
      }
      by_size[size_of_study(line)][line["ranks"].get<std::int64_t>()].push_back(std::move(line));
    }
    if (number == 0) {
      throw InputError("'" + path.string() + "' holds no run");
    }
  }
  std::vector<ScalingStudy> studies;
  for (const auto& [size, by_ranks] : by_size) {
    const auto& smallest = by_ranks.begin()->second.front();
    auto& study = studies.emplace_back(
        ScalingStudy{.program = first["program"].get<std::string>(),
                     .machine = smallest.value("machine", ""),
                     .commit = smallest.value("commit", ""),
                     .weak = first["mode"] == "weak",
                     .threads = smallest.value("threads", std::int64_t{0}),
                     .options = smallest.value("options", std::vector<std::string>{}),
                     .points = {}});
    for (const auto& [ranks, lines] : by_ranks) {
      study.points.push_back(make_point(ranks, lines));
    }
  }
  return studies;
}

ScalingStudy read_study(const std::filesystem::path& path) {
  auto studies = read_studies({path});
  if (studies.size() > 1) {
    throw InputError("'" + path.string() + "' holds runs of " + std::to_string(studies.size()) +
                     " numbers of samples; expected one");
  }
  return std::move(studies.front());
}

}  // namespace eigenscale
