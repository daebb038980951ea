#include "eigenscale/report/summary.h"

#include "eigenscale/comm/environment.h"
#include "eigenscale/comm/gather_texts.h"
#include "eigenscale/core/format.h"
#include "eigenscale/core/memory.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/core/version.h"

namespace eigenscale {

nlohmann::json make_summary(const Communicator& communicator, const std::string& program,
                            const std::string& device, std::int64_t startup_bytes) {
  const std::int64_t peak = peak_memory_bytes();
  auto amounts = counters();
  const auto most = [&](const std::string& counter) {
    return all_reduce(communicator, amounts["communication." + counter], ReduceOp::kMax);
  };
  const nlohmann::json communication = {
      {"seconds", 1e-9 * static_cast<double>(most("nanoseconds"))},
      {"bytes", most("bytes")},
      {"calls", most("calls")}};
  return {{"schema_version", 1},
          {"program", program},
          {"version", version()},
          {"ranks", communicator.size()},
          {"device", device},
          {"metrics", nlohmann::json::object()},
          {"communication", {{"total", communication}}},
          {"peak_memory_bytes",
           {{"max_rank", all_reduce(communicator, peak, ReduceOp::kMax)},
            {"sum", all_reduce(communicator, peak)},
            {"startup_max_rank", all_reduce(communicator, startup_bytes, ReduceOp::kMax)}}}};
}

nlohmann::json transfer_summary(const Communicator& communicator) {
  const std::string prefix = "transfers.";
  auto own = nlohmann::json::object();
  for (const auto& [name, amount] : counters()) {
    if (name.starts_with(prefix)) {
      own[name.substr(prefix.size())] = amount;
    }
  }
  nlohmann::json result = {{"to_device", nlohmann::json::object()},
                           {"to_host", nlohmann::json::object()}};
  for (const auto& text : gather_texts(communicator, own.dump())) {
    const auto parsed = nlohmann::json::parse(text);
    for (const auto& [name, amount] : parsed.items()) {
      const auto site = name.find('.') + 1;
      const auto what = name.rfind('.') + 1;
      auto& sum =
          result[name.substr(0, site - 1)][name.substr(site, what - 1 - site)][name.substr(what)];
      sum =
          (sum.is_null() ? std::int64_t{0} : sum.get<std::int64_t>()) + amount.get<std::int64_t>();
    }
  }
  return result;
}

std::string gather_trace(const Communicator& communicator) {
  const int rank = communicator.rank();
  auto own = nlohmann::json::array();
  own.push_back(
      {{"name", "process_name"},
       {"ph", "M"},
       {"pid", rank},
       {"tid", 0},
       {"args", {{"name", format_text("rank {} on {}", rank, Environment::host_name())}}}});
  std::int64_t messages = 0;
  for (const auto& event : trace_events()) {
    nlohmann::json json = {{"name", event.name}, {"pid", rank}, {"tid", 0}, {"ts", event.begin_us}};
    if (!event.message) {
      json.update({{"ph", "X"}, {"dur", event.duration_us}});
      own.push_back(json);
      continue;
    }
    // Complete events of one thread must nest; a pair of asynchronous ones gets a line of its own.
    json.update({{"ph", "b"}, {"cat", "message"}, {"id", ++messages}});
    own.push_back(json);
    json.update({{"ph", "e"}, {"ts", event.begin_us + event.duration_us}});
    own.push_back(json);
  }
  auto all = nlohmann::json::array();
  for (const auto& text : gather_texts(communicator, own.dump())) {
    for (auto& event : nlohmann::json::parse(text)) {
      all.push_back(std::move(event));
    }
  }
  return rank == 0 ? nlohmann::json{{"traceEvents", all}}.dump() : "";
}

}  // namespace eigenscale
