#pragma once

#include <mpi.h>
#include <torch/torch.h>

#include <cstdint>
#include <string>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// Throws CommunicationError with the library's text unless `code` is MPI_SUCCESS.
void check_mpi(int code, const char* call);

/// The one place where a 64-bit size becomes MPI's int.
int narrow_to_int(std::int64_t size, const char* what);

/// MPI's type for a reduction over elements of `type`; throws std::invalid_argument for types
/// without arithmetic (complex, quantized).
MPI_Datatype mpi_type(torch::ScalarType type);

/// MPI's operation for `op` on `type` (half and bfloat16 need our own).
MPI_Op mpi_operation(ReduceOp op, torch::ScalarType type);

/// Frees the types and operations made above. Called once before MPI_Finalize.
void free_mpi_types();

}  // namespace eigenscale
