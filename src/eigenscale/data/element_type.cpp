#include "eigenscale/data/element_type.h"

#include <algorithm>
#include <stdexcept>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

// The width is a template parameter so that the inner loop becomes one byte-swap instruction.
template <int width>
void swap_bytes(const torch::Tensor& raw) {
  auto* bytes = raw.data_ptr<std::uint8_t>();
  for (auto* word = bytes; word != bytes + raw.numel(); word += width) {
    std::reverse(word, word + width);
  }
}

void to_native_order(const ElementType& type, const torch::Tensor& raw) {
  if (type.order == std::endian::native) {
    return;
  }
  switch (type.bytes) {
    case 2:
      return swap_bytes<2>(raw);
    case 4:
      return swap_bytes<4>(raw);
    case 8:
      return swap_bytes<8>(raw);
    default:
      return;
  }
}

}  // namespace

bool ElementType::supported() const {
  switch (kind) {
    case Kind::kBool:
      return bytes == 1;
    case Kind::kSigned:
    case Kind::kUnsigned:
      return bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8;
    case Kind::kFloat:
      return bytes == 2 || bytes == 4 || bytes == 8;
  }
  return false;
}

torch::ScalarType ElementType::scalar_type() const {
  switch (kind) {
    case Kind::kBool:
      return torch::kBool;
    case Kind::kFloat:
      return bytes == 2 ? torch::kFloat16 : bytes == 4 ? torch::kFloat32 : torch::kFloat64;
    case Kind::kSigned:
      return bytes == 1   ? torch::kInt8
             : bytes == 2 ? torch::kInt16
             : bytes == 4 ? torch::kInt32
                          : torch::kInt64;
    case Kind::kUnsigned:
      return bytes == 1 ? torch::kUInt8 : bytes == 2 ? torch::kInt32 : torch::kInt64;
  }
  throw std::invalid_argument("element type without a torch type");
}

ElementType element_type_of(torch::ScalarType type) {
  using Kind = ElementType::Kind;
  switch (type) {
    case torch::kBool:
      return {Kind::kBool, 1};
    case torch::kUInt8:
      return {Kind::kUnsigned, 1};
    case torch::kInt8:
      return {Kind::kSigned, 1};
    case torch::kInt16:
      return {Kind::kSigned, 2};
    case torch::kInt32:
      return {Kind::kSigned, 4};
    case torch::kInt64:
      return {Kind::kSigned, 8};
    case torch::kFloat16:
      return {Kind::kFloat, 2};
    case torch::kFloat32:
      return {Kind::kFloat, 4};
    case torch::kFloat64:
      return {Kind::kFloat, 8};
    default:
      throw std::invalid_argument(std::string("tensors of type ") + torch::toString(type) +
                                  " cannot be written to a file");
  }
}

torch::Tensor decode(const ElementType& type, const torch::Tensor& raw, const std::string& name) {
  if (raw.numel() == 0) {
    return torch::empty({0}, type.scalar_type());
  }
  to_native_order(type, raw);
  if (type.kind == ElementType::Kind::kBool) {
    return raw.ne(0);
  }
  if (type.kind == ElementType::Kind::kUnsigned && type.bytes > 1) {
    const auto same_bits = ElementType{ElementType::Kind::kSigned, type.bytes}.scalar_type();
    auto bits = raw.view(same_bits);
    if (type.bytes < 8) {
      const std::int64_t mask = (std::int64_t{1} << (8 * type.bytes)) - 1;
      return bits.to(type.scalar_type()).bitwise_and_(mask);
    }
    if (bits.lt(0).any().item<bool>()) {
      throw InputError("'" + name + "' has unsigned values of 2^63 or more, which are too large");
    }
    return bits;
  }
  return raw.view(type.scalar_type());
}

std::int64_t byte_count(const std::vector<std::int64_t>& shape, int element_bytes,
                        const std::string& name) {
  std::int64_t bytes = element_bytes;
  // An empty array may name huge sizes besides the zero; its rows must still be countable.
  bool empty = false;
  for (const std::int64_t size : shape) {
    empty = empty || size == 0;
    if (size < 0 || __builtin_mul_overflow(bytes, std::max<std::int64_t>(size, 1), &bytes)) {
      throw InputError("'" + name + "' is damaged: its header promises a size of " +
                       std::to_string(size) + " in an array that no file can hold");
    }
  }
  return empty ? 0 : bytes;
}

}  // namespace eigenscale
