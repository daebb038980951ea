#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/report/run.h"
#include "eigenscale/train/trainer.h"

namespace eigenscale {

/// What eigenscale-train is asked to do, beside what every run is told.
struct TrainingRunOptions {
  std::string data;
  std::string labels;
  std::string validation_data;    // empty: none
  std::string validation_labels;  // empty: none
  /// A name of nn/named_networks.h, or a file of a specification that ends in .json.
  std::string network;
  nlohmann::json normalization;
  /// Of flat samples that are images; empty: the shape in the file.
  std::vector<std::int64_t> image_shape;
  torch::ScalarType precision = torch::kFloat32;
  /// Products of floats in TF32 on a device, ten bits of precision.
  bool tf32 = false;
  TrainerOptions trainer;
};

/// [collective] Reads, trains, and writes model.safetensors, model.json, checkpoints/,
/// metrics.jsonl, report.html and, last, summary.json. Returns ExitCode::kStopped, without a
/// summary, when training was asked to stop (by signals: where the caller has called
/// catch_stop_signals()); throws the documented errors, agreed on all ranks.
ExitCode run_training(const Communicator& world, const RunOptions& run,
                      const TrainingRunOptions& options);

}  // namespace eigenscale
