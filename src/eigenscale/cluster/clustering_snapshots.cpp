#include "eigenscale/cluster/clustering_snapshots.h"

#include <algorithm>
#include <fstream>
#include <utility>

#include "eigenscale/comm/agreement.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/clock.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/log.h"
#include "eigenscale/core/stop_signals.h"
#include "eigenscale/train/training_state.h"

namespace eigenscale {
namespace {

const SnapshotKind kPart = {"eigenscale-clustering", 1, "part"};
constexpr double kMostOfTheTime = 0.05;

std::string key(const std::string& phase, const std::string& name) { return phase + "/" + name; }

}  // namespace

ExitCode end_at_stop(const std::function<void()>& run) {
  try {
    run();
  } catch (const ClusteringStopped&) {
    return ExitCode::kStopped;
  }
  return ExitCode::kDone;
}

ClusteringSnapshots::ClusteringSnapshots(const Communicator& world, Run& run,
                                         const nlohmann::json& setting, double begin,
                                         const SnapshotOptions& options)
    : world_(world),
      run_(run),
      setting_(setting),
      begin_(begin),
      options_(options),
      directory_(run.file("checkpoints")),
      written_(now_seconds()) {
  if (!run.options().resume) {
    return;
  }
  from_ = newest_snapshot(world, kPart, directory_);
  if (!from_) {
    log_info("no snapshot in {} yet: starting from the beginning", directory_.string());
    return;
  }
  verify_snapshot(world, kPart, *from_);
  on_all_ranks(world, [&] {
    const auto path = *from_ / "state.json";
    std::ifstream file(path);
    const auto state = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
    if (!state.is_object() || !state.contains("phases") || !state.contains("setting")) {
      throw InputError("'" + path.string() + "' is no state of a clustering");
    }
    // Other data first: they have other defaults, too.
    for (const char* part : {"data", "options"}) {
      require_same_setting(state["setting"].value(part, nlohmann::json()), setting_[part], *from_);
    }
    phases_ = state["phases"];
    lines_ = state.value("lines", std::int64_t{0});
    tensors_ = read_safetensors(*from_ / "tensors.safetensors");
  });
  number_ = snapshot_number(kPart, *from_).value_or(0);
  log_info("going on from {}", from_->string());
}

void ClusteringSnapshots::open_log(std::int64_t more,
                                   const std::function<void(const nlohmann::json&)>& on_kept) {
  if (!from_) {
    run_.open_log();
    return;
  }
  const std::int64_t kept_lines = lines_ + more;
  run_.open_log([&on_kept, kept_lines, line = std::int64_t{0}](const nlohmann::json& json) mutable {
    const bool kept = line++ < kept_lines;
    if (kept && on_kept) {
      on_kept(json);
    }
    return kept;
  });
}

const nlohmann::json& ClusteringSnapshots::found(const std::string& phase) const {
  static const nlohmann::json kNothing;
  const auto found = phases_.find(phase);
  return found == phases_.end() ? kNothing : *found;
}

const torch::Tensor& ClusteringSnapshots::tensor(const std::string& phase,
                                                 const std::string& name) const {
  return tensors_.at(key(phase, name));
}

NamedTensors ClusteringSnapshots::tensors(const std::string& phase) const {
  NamedTensors result;
  const std::string prefix = key(phase, "");
  for (const auto& [name, tensor] : tensors_) {
    if (name.starts_with(prefix)) {
      result[name.substr(prefix.size())] = tensor;
    }
  }
  return result;
}

torch::Tensor ClusteringSnapshots::rows(const std::string& name, RowRange range) const {
  return read_snapshot_rows(world_, *from_, name, range);
}

PretrainingCheckpoints ClusteringSnapshots::pretraining() const {
  const double limit = options_.time_limit;
  return {.directory = directory_,
          .resume = run_.options().resume,
          .interval = options_.interval,
          .before_save = [&run = run_] { run.require_lock(); },
          .time_limit = limit > 0 ? std::max(limit - (now_seconds() - begin_), 1e-9) : 0};
}

void ClusteringSnapshots::note(const std::string& phase, nlohmann::json state,
                               const NamedTensors& tensors) {
  forget(phase);
  phases_[phase] = std::move(state);
  for (const auto& [name, tensor] : tensors) {
    tensors_[key(phase, name)] = tensor;
  }
}

void ClusteringSnapshots::forget(const std::string& phase) {
  phases_.erase(phase);
  const std::string prefix = key(phase, "");
  std::erase_if(tensors_, [&](const auto& entry) { return entry.first.starts_with(prefix); });
}

bool ClusteringSnapshots::agreed(bool own) const {
  return all_reduce(world_, std::int64_t{own ? 1 : 0}) > 0;
}

void ClusteringSnapshots::write(const Rows& rows, std::int64_t keep) {
  const double begin = now_seconds();
  run_.require_lock();
  SnapshotWriter writer(world_, kPart, directory_, ++number_);
  writer.write_files([&](const std::filesystem::path& folder) {
    write_safetensors(folder / "tensors.safetensors", tensors_);
    const nlohmann::json state = {
        {"setting", setting_}, {"lines", run_.log_lines()}, {"phases", phases_}};
    write_file(folder / "state.json", state.dump(1) + "\n");
  });
  if (rows) {
    rows(writer);
  }
  writer.publish(keep);
  written_ = now_seconds();
  write_seconds_ = written_ - begin;
}

void ClusteringSnapshots::stop() const {
  run_.stop();
  log_info("stopped on request with a complete checkpoint in {}; --resume goes on",
           directory_.string());
  throw ClusteringStopped();
}

void ClusteringSnapshots::save(const Rows& rows) {
  write(rows);
  if (agreed(stop_is_due(begin_, options_.time_limit))) {
    stop();
  }
}

void ClusteringSnapshots::step(const std::function<void()>& prepare, const Rows& rows) {
  const double passed = now_seconds() - written_;
  const bool due = options_.interval == 0 ||
                   passed >= std::max(options_.interval, write_seconds_ / kMostOfTheTime);
  if (agreed(due || stop_is_due(begin_, options_.time_limit))) {
    prepare();
    save(rows);
  }
}

}  // namespace eigenscale
