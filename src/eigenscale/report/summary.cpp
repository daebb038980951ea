#include "eigenscale/report/summary.h"

#include "eigenscale/core/memory.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/core/version.h"

namespace eigenscale {

nlohmann::json make_summary(const Communicator& communicator, const std::string& program,
                            const std::string& device, std::int64_t startup_bytes) {
  const std::int64_t peak = peak_memory_bytes();
  return {{"schema_version", 1},
          {"program", program},
          {"version", version()},
          {"ranks", communicator.size()},
          {"device", device},
          {"metrics", nlohmann::json::object()},
          {"peak_memory_bytes",
           {{"max_rank", all_reduce(communicator, peak, ReduceOp::kMax)},
            {"sum", all_reduce(communicator, peak)},
            {"startup_max_rank", all_reduce(communicator, startup_bytes, ReduceOp::kMax)}}}};
}

std::string gather_trace(const Communicator& communicator) {
  auto own = nlohmann::json::array();
  for (const auto& event : trace_events()) {
    own.push_back({{"name", event.name},
                   {"ph", "X"},
                   {"pid", communicator.rank()},
                   {"tid", 0},
                   {"ts", event.begin_us},
                   {"dur", event.duration_us}});
  }
  auto all = nlohmann::json::array();
  for (int rank = 0; rank < communicator.size(); ++rank) {
    const std::string text = broadcast(communicator, own.dump(), rank);
    if (communicator.rank() == 0) {
      for (auto& event : nlohmann::json::parse(text)) {
        all.push_back(std::move(event));
      }
    }
  }
  return communicator.rank() == 0 ? nlohmann::json{{"traceEvents", all}}.dump() : "";
}

}  // namespace eigenscale
