#pragma once

#include <torch/torch.h>

#include "eigenscale/linalg/distributed_matrix.h"

namespace eigenscale {

/// Products of a matrix with its own transpose: half the work of `multiply`, since only the lower
/// triangle is computed. `mirror_lower` fills the upper one when all is summed.

/// [local] Adds X X^T to the lower triangle of `sum` (n x n) for X of n x k, both contiguous and of
/// one type, float or double; by BLAS's ?syrk.
void add_gram(const torch::Tensor& sum, const torch::Tensor& x);

/// [local] Adds X^T X to the lower triangle of `sum` (n x n) for the k rows of X (k x n), as above.
void add_gram_of_rows(const torch::Tensor& sum, const torch::Tensor& x);

/// [local] The same into doubles, whatever the rows are (contiguous): of floats, the products of at
/// most kSingleProducts rows at a time are in single precision and added in double, with the bound
/// below.
void add_widened_gram_of_rows(const torch::Tensor& sum, const torch::Tensor& x);

/// [local] Copies the lower triangle of a square matrix over the upper one.
void mirror_lower(const torch::Tensor& matrix);

/// Columns whose products are summed in single precision before they are added in double.
constexpr std::int64_t kSingleProducts = 1024;
/// Columns of doubles that travel at once: as many bytes.
constexpr std::int64_t kTravellingDoubles = kSingleProducts / 2;

/// [collective] Adds A A^T to the lower triangle of `sum` (entries above it in the same panel of
/// columns get what belongs there, or nothing), which lies on A's grid in square blocks of A's row
/// block; double. A's columns may lie in any way: some hundred at a time travel within process rows
/// and columns, and every rank multiplies what its part of the sum needs. Faster than
/// ScaLAPACK's pdsyrk here (docs/decisions.md).
///
/// A of floats is multiplied in single precision, at most kSingleProducts = b columns at a time,
/// and their products are added in double. With u = 2^-24, entry (i, j) is off by at most
/// b u / (1 - b u) sum_c |a_ic a_jc| (Higham, Accuracy and Stability of Numerical Algorithms, 2002,
/// equation 3.5), which is at most 6.2e-5 |a_i| |a_j| for rows a_i of A; roundings partly cancel,
/// and what is seen is some 1e-7 (tests/spectral/covariance_precision_test.cpp).
void add_gram(DistributedMatrix& sum, const DistributedMatrix& a);

/// [collective] As above, of a distributed matrix in square blocks.
void mirror_lower(DistributedMatrix& matrix);

}  // namespace eigenscale
