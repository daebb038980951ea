#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>

namespace eigenscale {

/// How the factor 1 / (l_i - l_j) in the gradient of eigenvectors is formed, which no floating
/// point survives where eigenvalues meet.
enum class GradientRule {
  kExact,           ///< 1 / (l_i - l_j): infinite for equal eigenvalues; the unstable baseline
  kPowerIteration,  ///< sum_{k < T} (l_j / l_i)^k / l_i (Wang et al., NeurIPS 2019)
  kTaylor,          ///< the same series, eigenvalues raised to 1e-10 (Wang et al., TPAMI 2021)
  kClip,            ///< |l_i - l_j| raised to 0.01
  kPade,            ///< a rational form of the series (after Song et al., ICCV 2021)
};

struct GradientRuleOptions {
  GradientRule rule = GradientRule::kTaylor;
  /// T, the number of terms of power-iteration, taylor and pade; 0 for the rule's own: 20 for
  /// power-iteration (the authors' 19 iterations), 10 otherwise.
  std::int64_t terms = 0;
};

/// The rule's name as options spell it, and back. Throws OptionError for an unknown one.
std::string to_string(GradientRule rule);
GradientRule parse_gradient_rule(const std::string& text);

/// [local] K (n x n, antisymmetric, zero diagonal) with K_ij ~ 1 / (l_i - l_j), for the eigenvalues
/// of a positive semidefinite matrix, n doubles in descending order; negative ones, which rounding
/// leaves, count as zero in the series.
///
/// The series have relative error (l_j / l_i)^T for l_i > l_j and |K_ij| <= T / max(l_i, l_j). Of
/// eigenvalues that are all zero to rounding (below n 2^-52 times the largest) the series of
/// power-iteration takes that limit for both. `pade` is exact to relative gaps of 1e-8 and bounded
/// below that.
torch::Tensor gradient_factors(const torch::Tensor& values, const GradientRuleOptions& options);

}  // namespace eigenscale
