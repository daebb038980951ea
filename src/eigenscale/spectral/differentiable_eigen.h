#pragma once

#include <torch/torch.h>

#include "eigenscale/spectral/gradient_rule.h"

namespace eigenscale {

struct Eigenpairs {
  torch::Tensor values;   ///< n, descending
  torch::Tensor vectors;  ///< n x n, columns in that order; the largest entry of each is positive
};

/// [local] Eigendecomposition of a symmetric n x n matrix (float or double; worked on in double)
/// without a graph. Throws NumericalError when entries are not finite or it does not converge.
Eigenpairs eigen_decomposition(const torch::Tensor& matrix);

/// [local] The same with a gradient: dL/dM = V (K^T o (V^T dL/dV) + diag(dL/dl)) V^T made
/// symmetric, with K by `options` (Wang et al., NeurIPS 2019, equation 2). Values and vectors have
/// the type of `matrix`.
Eigenpairs differentiable_eigen(const torch::Tensor& matrix,
                                const GradientRuleOptions& options = {});

}  // namespace eigenscale
