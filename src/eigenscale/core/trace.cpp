#include "eigenscale/core/trace.h"

#include <atomic>
#include <mutex>

#include "eigenscale/core/clock.h"

namespace eigenscale {
namespace {

struct Recorder {
  std::atomic<bool> recording = false;
  double origin = 0;
  std::mutex mutex;
  std::vector<TraceEvent> events;
  std::map<std::string, std::int64_t> counters;
};

Recorder& recorder() {
  static Recorder instance;
  return instance;
}

void record(const char* name, double begin, double end, bool message) {
  if (recorder().recording) {
    const std::lock_guard lock(recorder().mutex);
    recorder().events.push_back(
        {name, 1e6 * (begin - recorder().origin), 1e6 * (end - begin), message});
  }
}

}  // namespace

void start_trace() {
  recorder().origin = now_seconds();
  recorder().recording = true;
}

std::vector<TraceEvent> trace_events() {
  const std::lock_guard lock(recorder().mutex);
  return recorder().events;
}

TraceSpan::TraceSpan(const char* name) : name_(recorder().recording ? name : nullptr) {
  if (name_ != nullptr) {
    begin_ = now_seconds();
  }
}

TraceSpan::~TraceSpan() {
  if (name_ != nullptr) {
    record(name_, begin_, now_seconds(), false);
  }
}

void record_message(const char* name, double begin, double end) { record(name, begin, end, true); }

void count(const std::string& counter, std::int64_t amount) {
  const std::lock_guard lock(recorder().mutex);
  recorder().counters[counter] += amount;
}

std::map<std::string, std::int64_t> counters() {
  const std::lock_guard lock(recorder().mutex);
  return recorder().counters;
}

}  // namespace eigenscale
