#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/core/row_partition.h"
#include "eigenscale/data/snapshot.h"
#include "eigenscale/nn/safetensors.h"
#include "eigenscale/report/run.h"
#include "eigenscale/train/pretraining.h"

namespace eigenscale {

/// When a clustering writes snapshots within a phase, and when it ends early.
struct SnapshotOptions {
  /// At most one in so many seconds, nor more often than a twentieth of the time allows; 0: after
  /// every step or pass. The end of a phase writes one in any case.
  double interval = 60;
  /// Seconds from the beginning of the run after which it stops with a snapshot; 0: none.
  double time_limit = 0;
};

/// Ends a run that was asked to stop, on all ranks alike, behind a complete snapshot.
class ClusteringStopped : public std::exception {
 public:
  const char* what() const noexcept override { return "stopped on request"; }
};

/// [collective] The exit code of a run that may be stopped so.
ExitCode end_at_stop(const std::function<void()>& run);

/// What a clustering has found so far, and its snapshots (data/snapshot.h) in DIR/checkpoints by
/// the name part-N, of
///
///   state.json            the setting, and by phase what was found
///   tensors.safetensors   what is whole on every rank, named PHASE/NAME
///   NAME.npy              what is split by rows over ranks
///
/// Borrows communicator and run.
class ClusteringSnapshots {
 public:
  /// Writes what is too large to be kept for a snapshot.
  using Rows = std::function<void(SnapshotWriter&)>;

  /// [collective] Goes on from the newest snapshot where the run resumes and there is one. `begin`
  /// (of now_seconds()) is when the run began. InputError (agreed) for one that is damaged or of a
  /// run with another setting, naming what differs.
  ClusteringSnapshots(const Communicator& world, Run& run, const nlohmann::json& setting,
                      double begin, const SnapshotOptions& options);

  /// [local] What a phase has noted; null when it has not.
  const nlohmann::json& found(const std::string& phase) const;
  bool has(const std::string& phase) const { return !found(phase).is_null(); }
  /// [local] A tensor that it has noted.
  const torch::Tensor& tensor(const std::string& phase, const std::string& name) const;
  /// [local] All of them, by name.
  NamedTensors tensors(const std::string& phase) const;
  /// [collective] The rows `range` of an array in the snapshot that the run goes on from.
  torch::Tensor rows(const std::string& name, RowRange range) const;
  /// [collective] Begins the run's log behind those lines that belong to what was found, and so
  /// many `more`; `on_kept` sees them on the first rank.
  void open_log(std::int64_t more = 0,
                const std::function<void(const nlohmann::json&)>& on_kept = {});

  /// [local] How pre-training by batches keeps checkpoints beside them.
  PretrainingCheckpoints pretraining() const;

  /// [local] Replaces what a phase has noted.
  void note(const std::string& phase, nlohmann::json state, const NamedTensors& tensors = {});
  void forget(const std::string& phase);

  /// [collective] Writes a snapshot; the last `keep` ones remain.
  void write(const Rows& rows = {}, std::int64_t keep = 2);
  /// [collective] The same, and ends the run by ClusteringStopped where it was asked to.
  void save(const Rows& rows = {});
  /// [collective] Between two steps: does so when it is time for one. `prepare` notes where the
  /// phase stands; it is called only then.
  void step(const std::function<void()>& prepare, const Rows& rows = {});
  /// [collective] Ends the run, whose newest checkpoint says all.
  [[noreturn]] void stop() const;

 private:
  bool agreed(bool own) const;

  const Communicator& world_;
  Run& run_;
  nlohmann::json setting_;
  double begin_;
  SnapshotOptions options_;
  std::filesystem::path directory_;
  std::optional<std::filesystem::path> from_;
  nlohmann::json phases_ = nlohmann::json::object();
  NamedTensors tensors_;
  std::int64_t number_ = 0;
  std::int64_t lines_ = 0;    // of the log, when the snapshot was written
  double written_;            // when the last one was
  double write_seconds_ = 0;  // how long that took
};

}  // namespace eigenscale
