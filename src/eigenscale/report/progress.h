#pragma once

#include <cstdint>
#include <string>

namespace eigenscale {

/// Progress of a phase of known length on standard error: a bar on a terminal, otherwise a line
/// every five seconds with step, rate and remaining time. Only a speaking one (rank 0's) prints.
class Progress {
 public:
  enum class Mode { kAuto, kAlways, kNever };

  /// kAuto: a bar on a terminal, lines off it. kAlways: a bar anywhere.
  Progress(std::string label, std::int64_t steps, Mode mode, bool speaks);
  /// [local] `text` says what is worth knowing, such as the loss. The rate counts from the first
  /// call: a run may go on from far behind its beginning.
  void update(std::int64_t step, const std::string& text);
  /// [local] Ends the line of a bar, so that something else can be printed.
  void interrupt();
  /// [local] The last call.
  void finish();

  /// "auto", "always", "never".
  static Mode parse(const std::string& text);

 private:
  std::string label_;
  std::int64_t steps_;
  bool speaks_;
  bool bar_;
  double start_;
  double last_;
  std::int64_t first_ = -1;
};

}  // namespace eigenscale
