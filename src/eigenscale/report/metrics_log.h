#pragma once

#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// metrics.jsonl: one JSON object a line, complete lines only. Rank 0 writes; on other ranks it
/// does nothing. Throws OutputError.
class MetricsLog {
 public:
  /// [collective] A new file, or one that goes on after those of its lines that `keep` accepts.
  /// Errors are agreed.
  MetricsLog(const Communicator& communicator, std::filesystem::path path,
             const std::function<bool(const nlohmann::json&)>& keep = {});
  /// [local]
  void write(const nlohmann::json& line);

 private:
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

}  // namespace eigenscale
