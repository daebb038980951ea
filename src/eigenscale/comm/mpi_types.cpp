#include "eigenscale/comm/mpi_types.h"

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <stdexcept>

#include "eigenscale/core/errors.h"

namespace eigenscale {
namespace {

template <typename Half, ReduceOp op>
void reduce_half(void* input, void* in_out, int* length, MPI_Datatype*) {
  const auto* a = static_cast<const Half*>(input);
  auto* b = static_cast<Half*>(in_out);
  for (int i = 0; i < *length; ++i) {
    const float x = a[i];
    const float y = b[i];
    if constexpr (op == ReduceOp::kSum) {
      b[i] = static_cast<Half>(x + y);
    } else if constexpr (op == ReduceOp::kMax) {
      b[i] = static_cast<Half>(std::max(x, y));
    } else {
      b[i] = static_cast<Half>(std::min(x, y));
    }
  }
}

template <typename Half>
MPI_User_function* half_function(ReduceOp op) {
  switch (op) {
    case ReduceOp::kSum:
      return &reduce_half<Half, ReduceOp::kSum>;
    case ReduceOp::kMax:
      return &reduce_half<Half, ReduceOp::kMax>;
    case ReduceOp::kMin:
      return &reduce_half<Half, ReduceOp::kMin>;
  }
  throw std::invalid_argument("unknown reduction");
}

bool is_half(torch::ScalarType type) { return type == torch::kHalf || type == torch::kBFloat16; }

std::map<std::pair<ReduceOp, torch::ScalarType>, MPI_Op>& half_operations() {
  static std::map<std::pair<ReduceOp, torch::ScalarType>, MPI_Op> operations;
  return operations;
}

}  // namespace

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) {
    return;
  }
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  throw CommunicationError(std::string(call) + " failed: " + std::string(text.data(), length));
}

int narrow_to_int(std::int64_t size, const char* what) {
  if (size < 0 || size > std::numeric_limits<int>::max()) {
    throw CommunicationError(std::string(what) + " of " + std::to_string(size) +
                             " does not fit MPI's 32-bit count");
  }
  return static_cast<int>(size);
}

MPI_Datatype mpi_type(torch::ScalarType type) {
  switch (type) {
    case torch::kUInt8:
      return MPI_UINT8_T;
    case torch::kInt8:
      return MPI_INT8_T;
    case torch::kInt16:
      return MPI_INT16_T;
    case torch::kInt32:
      return MPI_INT32_T;
    case torch::kInt64:
      return MPI_INT64_T;
    case torch::kFloat32:
      return MPI_FLOAT;
    case torch::kFloat64:
      return MPI_DOUBLE;
    case torch::kBool:
      return MPI_UINT8_T;
    case torch::kHalf:
    case torch::kBFloat16:
      return MPI_UINT16_T;
    default:
      throw std::invalid_argument(std::string("no reduction over elements of type ") +
                                  torch::toString(type));
  }
}

MPI_Op mpi_operation(ReduceOp op, torch::ScalarType type) {
  if (is_half(type)) {
    auto [entry, made] = half_operations().try_emplace({op, type}, MPI_OP_NULL);
    if (made) {
      auto* function =
          type == torch::kHalf ? half_function<c10::Half>(op) : half_function<c10::BFloat16>(op);
      check_mpi(MPI_Op_create(function, 1, &entry->second), "MPI_Op_create");
    }
    return entry->second;
  }
  // A sum of truth values is "any of them", as in torch.
  if (type == torch::kBool && op == ReduceOp::kSum) {
    return MPI_MAX;
  }
  switch (op) {
    case ReduceOp::kSum:
      return MPI_SUM;
    case ReduceOp::kMax:
      return MPI_MAX;
    case ReduceOp::kMin:
      return MPI_MIN;
  }
  throw std::invalid_argument("unknown reduction");
}

void free_mpi_types() {
  for (auto& [key, operation] : half_operations()) {
    MPI_Op_free(&operation);
  }
  half_operations().clear();
}

}  // namespace eigenscale
