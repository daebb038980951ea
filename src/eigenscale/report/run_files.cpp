#include "eigenscale/report/run_files.h"

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

namespace eigenscale {
namespace {

namespace fs = std::filesystem;

// What every program may leave behind.
constexpr const char* kCommonFiles[] = {"summary.json",     "report.html", "metrics.jsonl",
                                        "environment.json", "trace.json",  "configuration.ini"};

/// Names in `directory` only, whatever the file says.
bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
}

bool is_within(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first ==
         folder.end();
}

bool is_same_or_within(const std::string& input, const fs::path& file) {
  std::error_code error;
  if (fs::equivalent(input, file, error)) {
    return true;
  }
  const auto whole = fs::canonical(input, error);
  if (error) {
    return false;
  }
  const auto folder = fs::canonical(file, error);
  return !error && is_within(whole, folder);
}

}  // namespace

EarlierFiles find_earlier_files(const fs::path& directory,
                                const std::vector<std::string>& outputs) {
  std::error_code ignored;
  EarlierFiles result;
  result.finished = fs::exists(directory / "summary.json", ignored);
  result.checkpoints = fs::exists(directory / "checkpoints", ignored);
  result.any = result.finished || fs::exists(directory / "configuration.ini", ignored);
  result.of_runs.assign(std::begin(kCommonFiles), std::end(kCommonFiles));
  std::ifstream file(directory / "environment.json");
  const auto environment = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (environment.is_object() && environment.contains("outputs") &&
      environment["outputs"].is_array()) {
    for (const auto& name : environment["outputs"]) {
      if (name.is_string() && is_plain_name(name.get<std::string>())) {
        result.of_runs.push_back(name.get<std::string>());
      }
    }
  } else if (result.any) {
    // Of a version that did not list them: they have the same names.
    result.of_runs.insert(result.of_runs.end(), outputs.begin(), outputs.end());
  }
  return result;
}

bool reads(const std::string& input, const fs::path& file) {
  return !input.empty() && (is_same_or_within(input, file) ||
                            is_same_or_within(input.substr(0, input.rfind(':')), file));
}

}  // namespace eigenscale
