#pragma once

#include <string>

#include "eigenscale/nn/saved_model.h"

namespace eigenscale {

/// [local] Whether this build writes ONNX.
bool has_onnx();

/// [local] The network in evaluation mode as an ONNX model (operator set 13): input "input" of N x
/// input shape, output "output" of N x outputs, N open. InputError for a layer it has no operator
/// for: whitening. OptionError in builds without ONNX.
std::string onnx_model(const SavedModel& model);

}  // namespace eigenscale
