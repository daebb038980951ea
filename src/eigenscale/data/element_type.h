#pragma once

#include <torch/torch.h>

#include <bit>
#include <cstdint>
#include <string>
#include <vector>

namespace eigenscale {

/// How a file stores one number.
struct ElementType {
  enum class Kind { kBool, kSigned, kUnsigned, kFloat };

  Kind kind = Kind::kFloat;
  int bytes = 4;
  std::endian order = std::endian::native;

  /// True for the combinations there are: bool of 1 byte, integers of 1, 2, 4 or 8, floating point
  /// of 2, 4 or 8.
  bool supported() const;
  /// The torch type that holds every value: uint16 becomes int32, uint32 and uint64 int64.
  torch::ScalarType scalar_type() const;
};

/// The element type in which `type` is written. std::invalid_argument for types that files do not
/// have (complex, bfloat16, quantised).
ElementType element_type_of(torch::ScalarType type);

/// [local] The numbers in `raw`, a contiguous uint8 tensor in the file's own representation, which
/// may be changed; 1-d, of type `type.scalar_type()`. InputError for a uint64 of 2^63 or more,
/// which no torch type holds; `name` is for the message.
torch::Tensor decode(const ElementType& type, const torch::Tensor& raw, const std::string& name);

/// The bytes of an array of `shape`. InputError when a size is negative or the product does not fit
/// 63 bits: a header that says so is damaged.
std::int64_t byte_count(const std::vector<std::int64_t>& shape, int element_bytes,
                        const std::string& name);

}  // namespace eigenscale
