#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/core/errors.h"
#include "eigenscale/report/run.h"

namespace eigenscale {

/// What eigenscale-compress is asked to do, beside what every run is told.
struct CompressionRunOptions {
  std::string model;
  /// Share of the squared singular values that a factorised layer keeps; none: no factorisation.
  std::optional<double> energy;
  /// Keep this share of each layer's neurons, the largest, instead of taking out dead ones.
  std::optional<double> keep_neurons;
  bool onnx = false;
  /// Samples with labels that measure both networks, and that train the smaller one; both optional.
  std::string validation_data;
  std::string validation_labels;
  std::string data;
  std::string labels;
  /// Factor on every value of both; none: the model's own.
  std::optional<double> scale;
  std::int64_t fine_tune_epochs = 0;
  double learning_rate = 0.01;
  std::int64_t batch_size = 128;
  std::uint64_t seed = 1;
};

/// [collective] Takes out neurons, factorises layers, maybe trains on, verifies, measures, and
/// writes model.safetensors, model.json, model.onnx (maybe with
/// model.onnx.data), summary.json and report.html. Errors end with
/// the documented exit codes on all ranks; NumericalError when taking out dead neurons changed the
/// outputs by more than 1e-5 of the largest, and when a weight, an output or a loss of either
/// network is not finite.
ExitCode run_compression(const Communicator& world, const RunOptions& run,
                         const CompressionRunOptions& options);

}  // namespace eigenscale
