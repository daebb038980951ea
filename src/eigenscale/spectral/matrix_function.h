#pragma once

#include <torch/torch.h>

#include "eigenscale/spectral/spectral_function.h"

namespace eigenscale {

/// [local] f(S) of a symmetric matrix, n x n, or of each of a stack of them, g x n x n; float or
/// double, worked on in double, in the type of `matrix`. Its gradient is exact, also for repeated
/// eigenvalues:
///   dL/dS = V (F o (V^T sym(dL/df) V)) V^T      (Daleckii and Krein)
/// Throws NumericalError when entries are not finite or the decomposition does not converge.
torch::Tensor matrix_function(const torch::Tensor& matrix, const SpectralFunction& function);

/// [local] V diag(f(l)) V^T, and the gradient formula above for a given decomposition (double).
torch::Tensor apply_function(const torch::Tensor& values, const torch::Tensor& vectors,
                             const SpectralFunction& function);
torch::Tensor function_gradient(const torch::Tensor& values, const torch::Tensor& vectors,
                                const SpectralFunction& function, const torch::Tensor& gradient);

}  // namespace eigenscale
