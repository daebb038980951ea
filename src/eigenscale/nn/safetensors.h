#pragma once

#include <torch/torch.h>

#include <filesystem>
#include <map>
#include <string>

namespace eigenscale {

using NamedTensors = std::map<std::string, torch::Tensor>;
/// What a file says of itself beside its tensors.
using Metadata = std::map<std::string, std::string>;

/// [local] Reads a safetensors file: eight bytes of header length, a JSON header, the tensors'
/// bytes, little-endian. Throws InputError with path and offset for a file that is truncated,
/// malformed, overlapping, or holds an element type torch does not know.
NamedTensors read_safetensors(const std::filesystem::path& path);

/// [local] Writes `tensors` (any strides) atomically, those of wide elements first and then in the
/// order of their names, so that each begins at a multiple of its element's size. Throws
/// OutputError.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const Metadata& metadata = {});

/// [local] The module's parameters and buffers by name, sharing storage.
NamedTensors named_parameters(const torch::nn::Module& module);

/// [local] A copy in the host's memory, without a graph; of all that `named_parameters` names.
torch::Tensor host_copy(const torch::Tensor& tensor);
NamedTensors host_copies(const torch::nn::Module& module);

/// [local] Copies `tensors`, read from `path`, into the module's parameters and buffers. Names and
/// shapes must match exactly; every difference is named in one InputError, and nothing is copied
/// then. Element types are converted.
void load_parameters(torch::nn::Module& module, const NamedTensors& tensors,
                     const std::filesystem::path& path);

}  // namespace eigenscale
