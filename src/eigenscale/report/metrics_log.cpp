#include "eigenscale/report/metrics_log.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <utility>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {

namespace {

// The lines to keep; the last one of a killed run may be cut off and is dropped.
std::string kept_lines(const std::filesystem::path& path,
                       const std::function<bool(const nlohmann::json&)>& keep) {
  std::string kept;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (json.is_object() && keep(json)) {
      kept += line + "\n";
    }
  }
  return kept;
}

}  // namespace

MetricsLog::MetricsLog(const Communicator& communicator, std::filesystem::path path,
                       const std::function<bool(const nlohmann::json&)>& keep)
    : path_(std::move(path)), file_(nullptr, &std::fclose) {
  on_all_ranks(
      communicator,
      [&] {
        if (communicator.rank() == 0) {
          if (keep) {
            write_file(path_, kept_lines(path_, keep));
          }
          file_.reset(std::fopen(path_.c_str(), keep ? "ae" : "we"));
          if (file_ == nullptr) {
            throw OutputError("cannot create '" + path_.string() + "': " + std::strerror(errno));
          }
        }
      },
      ExitCode::kOutput);
}

void MetricsLog::write(const nlohmann::json& line) {
  if (file_ == nullptr) {
    return;
  }
  const std::string text = line.dump() + "\n";
  if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size() ||
      std::fflush(file_.get()) != 0) {
    throw OutputError("cannot write '" + path_.string() + "': " + std::strerror(errno));
  }
}

}  // namespace eigenscale
