#include "eigenscale/report/run_comparison.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "eigenscale/core/errors.h"
#include "eigenscale/core/number_text.h"
#include "eigenscale/report/svg_plot.h"

namespace eigenscale {
namespace {

nlohmann::json read_summary(const std::filesystem::path& directory) {
  const auto path = directory / "summary.json";
  std::ifstream file(path);
  if (!file) {
    throw InputError("'" + directory.string() + "' holds no finished run: no " + path.string());
  }
  try {
    return nlohmann::json::parse(file);
  } catch (const nlohmann::json::exception& error) {
    throw InputError("'" + path.string() + "' is not valid: " + error.what());
  }
}

std::string cell(const nlohmann::json& summary, const nlohmann::json::json_pointer& pointer) {
  if (!summary.contains(pointer)) {
    return "-";
  }
  const auto& value = summary.at(pointer);
  return value.is_number()   ? short_number(value.get<double>())
         : value.is_string() ? value.get<std::string>()
                             : value.dump();
}

}  // namespace

std::string compare_runs(const std::vector<std::filesystem::path>& directories) {
  using Pointer = nlohmann::json::json_pointer;
  const std::vector<std::pair<std::string, Pointer>> columns = {
      {"program", Pointer("/program")},
      {"ranks", Pointer("/ranks")},
      {"accuracy", Pointer("/metrics/accuracy")},
      {"nmi", Pointer("/metrics/nmi")},
      {"ari", Pointer("/metrics/ari")},
      {"seconds", Pointer("/seconds/total")},
      {"bytes/rank", Pointer("/peak_memory_bytes/max_rank")}};
  std::vector<std::vector<std::string>> rows(1, {"run"});
  for (const auto& [name, pointer] : columns) {
    rows[0].push_back(name);
  }
  for (const auto& directory : directories) {
    const auto summary = read_summary(directory);
    auto& row = rows.emplace_back(1, directory.string());
    for (const auto& [name, pointer] : columns) {
      row.push_back(cell(summary, pointer));
    }
  }
  std::string table;
  for (const auto& row : rows) {
    for (std::size_t column = 0; column < row.size(); ++column) {
      std::size_t width = 0;
      for (const auto& other : rows) {
        width = std::max(width, other[column].size());
      }
      table += row[column] + std::string(width - row[column].size() + 2, ' ');
    }
    table += "\n";
  }
  return table;
}

}  // namespace eigenscale
