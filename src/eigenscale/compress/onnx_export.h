#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>

#include "eigenscale/nn/saved_model.h"

namespace eigenscale {

/// [local] Whether this build writes ONNX.
bool has_onnx();

/// [local] Writes the network in evaluation mode as an ONNX model (operator set 13): input "input"
/// of N x input shape, *raw* values of the data file (a Mul by the model's scale comes first),
/// output "output" of N x outputs, N open; single precision, whatever the model's. Weights that
/// would make the file larger than `largest_file` bytes, protobuf's limit, go into a second one,
/// PATH.data, beside it (ONNX's external data). InputError for a layer it has no operator for:
/// whitening. OptionError in builds without ONNX. OutputError.
void write_onnx(const std::filesystem::path& path, const SavedModel& model,
                std::int64_t largest_file = std::numeric_limits<std::int32_t>::max());

/// [local] The errors of write_onnx that the model's layers cause.
void require_onnx_operators(const SavedModel& model);

/// [local] The model with its tensors rounded to single precision, as ONNX gets them.
SavedModel in_single_precision(const SavedModel& model);

}  // namespace eigenscale
