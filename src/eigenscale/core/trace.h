#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace eigenscale {

/// One finished span of the Chrome trace event format; times in microseconds since `start_trace`.
struct TraceEvent {
  std::string name;
  double begin_us = 0;
  double duration_us = 0;
  bool message = false;  ///< under way beside the code, so that it may overlap anything
};

/// [local] Begins to record spans. Without it a span costs one test of a flag.
void start_trace();
/// [local] The spans recorded so far by this process.
std::vector<TraceEvent> trace_events();

/// [local] Records a message that was under way between these times of now_seconds() under `name`,
/// a string literal.
void record_message(const char* name, double begin, double end);

/// Records the time from construction to destruction under `name`, a string literal.
class TraceSpan {
 public:
  explicit TraceSpan(const char* name);
  ~TraceSpan();
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

 private:
  const char* name_;
  double begin_ = 0;
};

/// [local] Adds to a counter of this process, such as "communication.bytes".
void count(const std::string& counter, std::int64_t amount);
/// [local] All counters of this process.
std::map<std::string, std::int64_t> counters();

}  // namespace eigenscale
