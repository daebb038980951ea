#include "eigenscale/nn/safetensors.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "eigenscale/comm/device_transfer.h"
#include "eigenscale/core/atomic_file.h"
#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kLengthBytes = 8;

const std::vector<std::pair<std::string, torch::ScalarType>> kElementTypes = {
    {"F64", torch::kFloat64},   {"F32", torch::kFloat32}, {"F16", torch::kFloat16},
    {"BF16", torch::kBFloat16}, {"I64", torch::kInt64},   {"I32", torch::kInt32},
    {"I16", torch::kInt16},     {"I8", torch::kInt8},     {"U8", torch::kUInt8},
    {"BOOL", torch::kBool}};

struct Entry {
  std::string name;
  torch::ScalarType type;
  std::vector<std::int64_t> shape;
  std::int64_t begin;
  std::int64_t end;
};

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& text) {
  throw InputError(path.string() + ": not a usable safetensors file: " + text);
}

Entry parse_entry(const std::filesystem::path& path, const std::string& name, const Json& value) {
  Entry entry;
  entry.name = name;
  std::vector<std::int64_t> offsets;
  std::string type;
  try {
    type = value.at("dtype").get<std::string>();
    entry.shape = value.at("shape").get<std::vector<std::int64_t>>();
    offsets = value.at("data_offsets").get<std::vector<std::int64_t>>();
  } catch (const Json::exception& error) {
    fail(path, "entry '" + name + "': " + error.what());
  }
  const auto known =
      std::ranges::find(kElementTypes, type, &decltype(kElementTypes)::value_type::first);
  if (known == kElementTypes.end()) {
    fail(path, "tensor '" + name + "' has the unknown element type '" + type + "'");
  }
  entry.type = known->second;
  if (offsets.size() != 2) {
    fail(path, "tensor '" + name + "' has " + std::to_string(offsets.size()) +
                   " data offsets; expected 2");
  }
  entry.begin = offsets[0];
  entry.end = offsets[1];
  return entry;
}

// Bytes of the tensor, or nothing where the shape is negative or overflows.
std::optional<std::int64_t> byte_count(const Entry& entry) {
  auto bytes = static_cast<std::int64_t>(torch::elementSize(entry.type));
  for (const auto size : entry.shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes)) {
      return std::nullopt;
    }
  }
  return bytes;
}

void check_offsets(const std::filesystem::path& path, std::vector<Entry>& entries,
                   std::int64_t data_bytes) {
  std::ranges::sort(entries, {}, [](const Entry& e) { return std::pair(e.begin, e.end); });
  std::int64_t previous_end = 0;
  for (const auto& entry : entries) {
    const auto range = std::to_string(entry.begin) + " to " + std::to_string(entry.end);
    if (entry.begin < 0 || entry.end < entry.begin || entry.end > data_bytes) {
      fail(path, "tensor '" + entry.name + "' claims bytes " + range + ", but there are " +
                     std::to_string(data_bytes) + " bytes of data");
    }
    if (byte_count(entry) != entry.end - entry.begin) {
      fail(path, "tensor '" + entry.name + "' claims bytes " + range +
                     ", which is not the size of its shape");
    }
    if (entry.begin < previous_end) {
      fail(path, "tensor '" + entry.name + "' claims bytes " + range +
                     ", which overlap another tensor's");
    }
    previous_end = entry.end;
  }
}

}  // namespace

NamedTensors read_safetensors(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) {
    throw InputError(path.string() + ": cannot be opened for reading");
  }
  const auto file_bytes = static_cast<std::int64_t>(file.tellg());
  file.seekg(0);
  if (file_bytes < kLengthBytes) {
    fail(path, "it has " + std::to_string(file_bytes) + " bytes; the header length needs 8");
  }
  std::uint64_t length = 0;
  file.read(reinterpret_cast<char*>(&length), kLengthBytes);
  if (length > static_cast<std::uint64_t>(file_bytes - kLengthBytes)) {
    fail(path, "its header of " + std::to_string(length) + " bytes is longer than the file of " +
                   std::to_string(file_bytes) + " bytes");
  }
  std::string header(length, '\0');
  file.read(header.data(), static_cast<std::streamsize>(length));
  if (!file) {
    fail(path, "the header cannot be read");
  }
  const auto json = Json::parse(header, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) {
    fail(path, "its header at offset 8 is not a JSON object");
  }

  std::vector<Entry> entries;
  for (const auto& [name, value] : json.items()) {
    if (name != "__metadata__") {
      entries.push_back(parse_entry(path, name, value));
    }
  }
  const auto data_begin = kLengthBytes + static_cast<std::int64_t>(length);
  check_offsets(path, entries, file_bytes - data_begin);

  NamedTensors tensors;
  for (const auto& entry : entries) {
    auto tensor = torch::empty(entry.shape, entry.type);
    file.seekg(data_begin + entry.begin);
    file.read(static_cast<char*>(tensor.data_ptr()), entry.end - entry.begin);
    if (!file) {
      fail(path, "tensor '" + entry.name + "' cannot be read at offset " +
                     std::to_string(data_begin + entry.begin));
    }
    tensors[entry.name] = tensor;
  }
  return tensors;
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& tensors,
                       const Metadata& metadata) {
  Json json = Json::object();
  if (!metadata.empty()) {
    json["__metadata__"] = metadata;
  }
  std::vector<std::pair<std::string, torch::Tensor>> ordered(tensors.begin(), tensors.end());
  std::ranges::stable_sort(ordered, std::greater<>(),
                           [](const auto& entry) { return entry.second.element_size(); });
  std::vector<torch::Tensor> contents;
  std::int64_t offset = 0;
  for (const auto& [name, tensor] : ordered) {
    const auto known = std::ranges::find(kElementTypes, tensor.scalar_type(),
                                         &decltype(kElementTypes)::value_type::second);
    if (known == kElementTypes.end()) {
      throw OutputError(path.string() + ": safetensors has no element type for tensor '" + name +
                        "' of type " + torch::toString(tensor.scalar_type()));
    }
    contents.push_back(on_host(tensor.detach(), "files").contiguous());
    const auto bytes = static_cast<std::int64_t>(contents.back().nbytes());
    json[name] = {{"dtype", known->first},
                  {"shape", tensor.sizes().vec()},
                  {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  auto header = json.dump();
  // The format's own writers pad the header with spaces so that the data are aligned.
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = header.size();
  AtomicFile file(path);
  file.write(&length, kLengthBytes);
  file.write(header);
  for (const auto& tensor : contents) {
    file.write(tensor.data_ptr(), static_cast<std::int64_t>(tensor.nbytes()));
  }
  file.commit();
}

torch::Tensor host_copy(const torch::Tensor& tensor) {
  const auto there = on_host(tensor.detach(), "model");
  return there.is_alias_of(tensor) ? there.clone() : there;
}

NamedTensors host_copies(const torch::nn::Module& module) {
  auto tensors = named_parameters(module);
  for (auto& [name, tensor] : tensors) {
    tensor = host_copy(tensor);
  }
  return tensors;
}

NamedTensors named_parameters(const torch::nn::Module& module) {
  NamedTensors tensors;
  for (const auto& parameter : module.named_parameters()) {
    tensors[parameter.key()] = parameter.value();
  }
  for (const auto& buffer : module.named_buffers()) {
    tensors[buffer.key()] = buffer.value();
  }
  return tensors;
}

void load_parameters(torch::nn::Module& module, const NamedTensors& tensors,
                     const std::filesystem::path& path) {
  const auto parameters = named_parameters(module);
  std::string differences;
  for (const auto& [name, parameter] : parameters) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      differences += "; '" + name + "' is missing";
    } else if (found->second.sizes() != parameter.sizes()) {
      differences += "; '" + name + "' has shape " + c10::str(found->second.sizes()) +
                     ", expected " + c10::str(parameter.sizes());
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (!parameters.contains(name)) {
      differences += "; '" + name + "' is not a parameter of the network";
    }
  }
  if (!differences.empty()) {
    throw InputError(path.string() + ": its tensors do not fit the network" + differences);
  }
  torch::NoGradGuard no_grad;
  for (const auto& [name, parameter] : parameters) {
    copy_into(parameter, tensors.at(name), "files");
  }
}

}  // namespace eigenscale
