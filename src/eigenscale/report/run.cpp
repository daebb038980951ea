#include "eigenscale/report/run.h"

#include <algorithm>
#include <utility>

#include "eigenscale/core/log.h"
#include "eigenscale/core/memory.h"
#include "eigenscale/core/number_text.h"
#include "eigenscale/core/trace.h"
#include "eigenscale/report/summary.h"

namespace eigenscale {

Run::Run(const Communicator& world, RunOptions options)
    : world_(world),
      options_(std::move(options)),
      startup_bytes_(peak_memory_bytes()),
      directory_(world, options_.output, {options_.overwrite, options_.resume}),
      summary_({{"metrics", nlohmann::json::object()}, {"choices", nlohmann::json::object()}}) {
  if (options_.trace) {
    start_trace();
  }
  if (options_.device == "cuda") {
    device_.emplace(world, options_.communicator);
    log_info(device_->description());
    if (!device_->warning().empty()) {
      warn(device_->warning());
    }
  }
}

void Run::claim(const RunFiles& files) {
  directory_.claim(options_.program, options_.configuration, files);
}

void Run::open_log(const std::function<bool(const nlohmann::json&)>& keep) {
  log_lines_ = 0;
  const auto counted = [&](const nlohmann::json& line) {
    const bool kept = keep(line);
    log_lines_ += kept ? 1 : 0;
    return kept;
  };
  log_.emplace(world_, file("metrics.jsonl"),
               keep ? std::function<bool(const nlohmann::json&)>(counted) : nullptr);
}

void Run::phase(const std::string& name) {
  end_progress();
  timers_.begin(name);
  log_info("{} ...", name);
}

void Run::progress(const std::string& label, std::int64_t steps, std::int64_t step,
                   const std::string& text) {
  if (!progress_) {
    progress_.emplace(label, steps, options_.progress, world_.rank() == 0);
  }
  progress_->update(step, text);
}

void Run::interrupt_progress() {
  if (progress_) {
    progress_->interrupt();
  }
}

void Run::end_progress() {
  if (progress_) {
    progress_->finish();
    progress_.reset();
  }
}

void Run::warn(const std::string& text) {
  if (std::ranges::find(warnings_, text) == warnings_.end()) {
    warnings_.push_back(text);
    interrupt_progress();
    log_warning("warning: " + text);
  }
}

void Run::log(const nlohmann::json& line) {
  log_->write(line);
  ++log_lines_;
}

void Run::write_trace() const {
  if (options_.trace) {
    write("trace.json", gather_trace(world_));
  }
}

void Run::finish(const std::function<std::string(const nlohmann::json&)>& report) {
  end_progress();
  timers_.end();
  if (device_) {
    summary_["choices"]["devices"] = device_->description();
    summary_["transfers"] = transfer_summary(world_);
  }
  auto summary = make_summary(world_, options_.program, options_.device, startup_bytes_);
  // A program's own lines of what it communicated stand beside the total.
  summary.update(summary_, /*merge_objects=*/true);
  summary["seconds"] = timers_.reduce(world_);
  summary["communication"].update(timers_.reduce_communication(world_));
  auto amounts = counters();
  std::erase_if(amounts, [](const auto& entry) { return entry.first.starts_with("transfers."); });
  summary["counters"] = amounts;
  summary["warnings"] = warnings_;
  write_trace();
  if (report) {
    write("report.html", report(summary));
  }
  write("summary.json", summary.dump(2) + "\n");
  log_info("done in {}: {}", duration_text(summary["seconds"]["total"].get<double>()),
           (report ? file("report.html") : directory()).string());
}

void Run::stop() {
  end_progress();
  write_trace();
}

}  // namespace eigenscale
