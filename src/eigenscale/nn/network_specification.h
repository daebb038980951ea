#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace eigenscale {

/// A network as JSON, which model.json holds beside the weights:
///
///   {"input": [1, 28, 28], "layers": [
///     {"type": "convolution", "outputs": 32, "kernel": 3},
///     {"type": "normalization", "kind": "batch"},
///     {"type": "relu"},
///     {"type": "residual", "body": [...], "shortcut": [...]},
///     {"type": "average-pooling"}, {"type": "flatten"},
///     {"type": "linear", "outputs": 10}]}
///
/// `input` is the shape of one sample. A trained model also says what came before the network:
/// `scale`, the factor on every value of the data file (1 when absent), and `precision`, what it
/// was trained in. Types and their keys (default):
///
///   convolution      outputs, kernel, stride (1), padding (kernel / 2), bias (false before a
///                    normalization, else true)
///   linear           outputs, bias (true)
///   normalization    kind (batch, zca, pca-denoise), groups (1), epsilon (1e-4), energy
///                    (1; pca-denoise 0.99), components (0), gradient_rule (matrix-function),
///                    momentum (0.1); zca: relative_epsilon (false): times the mean variance; batch
///                    has no groups or components
///   relu
///   max-pooling      kernel, stride (kernel), padding (0)
///   average-pooling  of all pixels: C x H x W becomes C x 1 x 1
///   flatten
///   residual         body, shortcut (empty: the input itself): the sum of the two
///
/// Layers with weights have a `name`, by default their type and number.

/// [local] Checks a specification and fills in what it leaves open: names, numbers of inputs,
/// defaults. InputError names the layer, what was found and what was expected; `source` is its
/// file, for the message.
nlohmann::json complete_specification(nlohmann::json specification, const std::string& source);

/// [local] The completed specification in a file; InputError as above.
nlohmann::json read_specification(const std::filesystem::path& path);

/// [local] The factor on every value of the data that a model was trained with; 1 where it says
/// none.
double specification_scale(const nlohmann::json& specification);

/// [local] The number of outputs of a completed specification, whose output is a vector.
std::int64_t specification_outputs(const nlohmann::json& specification);

/// [local] Multiplications and additions of one sample's forward pass in convolutions and linear
/// layers of a completed specification, times two.
std::int64_t specification_flops(const nlohmann::json& specification);

}  // namespace eigenscale
