#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <map>
#include <string>

namespace eigenscale {

using NamedTensors = std::map<std::string, torch::Tensor>;

/// [local] Reads a safetensors file: eight bytes of header length, a JSON header, the tensors'
/// bytes, little-endian. Throws InputError with path and offset for a file that is truncated,
/// malformed, overlapping, or holds an element type torch does not know.
NamedTensors read_safetensors(const std::filesystem::path& path);

/// [local] Writes `tensors` (any strides) in the order of their names, atomically. Throws
/// OutputError.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors);

/// [local] The module's parameters and buffers by name, sharing storage.
NamedTensors named_parameters(const torch::nn::Module& module);

/// [local] Copies `tensors`, read from `path`, into the module's parameters and buffers. Names and
/// shapes must match exactly; every difference is named in one InputError, and nothing is copied
/// then. Element types are converted.
void load_parameters(torch::nn::Module& module, const NamedTensors& tensors,
                     const std::filesystem::path& path);

}  // namespace eigenscale
