#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <functional>

namespace eigenscale {

/// Proximal operators, argmin_X 1/2 ||X - W||_F^2 + r(X), of the penalties that make networks
/// small. Matrices (rows x columns, one of each
/// at least) are double or float; zeros in the results are exact. All [local].

/// r = threshold ||X||_1, of any shape.
torch::Tensor soft_threshold(const torch::Tensor& values, double threshold);

/// r = threshold sum_n ||row n||_2 of an m x n matrix: rows shrink or vanish (Alvarez and Salzmann,
/// Learning the number of neurons, NIPS 2016).
torch::Tensor group_threshold(const torch::Tensor& rows, double threshold);

/// r = group sum_n ||row n||_2 + elements ||X||_1 (there: elements first, then rows, which is
/// exact).
torch::Tensor sparse_group_threshold(const torch::Tensor& rows, double group, double elements);

struct LowRankMatrix {
  torch::Tensor matrix;
  std::int64_t rank = 0;
};

/// r = threshold ||X||_* (Alvarez and Salzmann, Compression-aware training, NIPS 2017), by a
/// singular value decomposition in double. NumericalError for entries that are not finite.
LowRankMatrix singular_value_threshold(const torch::Tensor& matrix, double threshold);

using ProximalOperator = std::function<torch::Tensor(const torch::Tensor&)>;

struct ProximalSum {
  torch::Tensor point;
  /// A subgradient of f at the point; start - point - of_f is one of g beside it.
  torch::Tensor of_f;
  std::int64_t iterations = 0;
  /// How far the point is from optimal: max |X - Y| of the two operators' last results.
  double gap = 0;
};

/// The proximal operator of f + g from those of f and g by Dykstra's iteration (Bauschke and
/// Combettes, Pacific J. Optim. 2008, algorithm 3.1). Ends when the gap is at most `tolerance`
/// times the largest entry of `start`, or after `most` iterations. The point is a result of `f`,
/// whose zeros it has.
ProximalSum proximal_of_sum(const torch::Tensor& start, const ProximalOperator& f,
                            const ProximalOperator& g, double tolerance, std::int64_t most);

}  // namespace eigenscale
