#include "eigenscale/report/metrics_log.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {

MetricsLog::MetricsLog(const Communicator& communicator, std::filesystem::path path)
    : path_(std::move(path)), file_(nullptr, &std::fclose) {
  on_all_ranks(
      communicator,
      [&] {
        if (communicator.rank() == 0) {
          file_.reset(std::fopen(path_.c_str(), "we"));
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
