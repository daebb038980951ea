#pragma once

#include <torch/torch.h>

#include "eigenscale/comm/communicator.h"

namespace eigenscale {

/// The way from a backend's eigenvectors, column-major and ascending, to rows in the wanted order
/// with signs of their own. On one thread each: torch's other threads would go on spinning where
/// OpenBLAS's are about to work.

/// [local] max |a| over doubles on the host, of one or two dimensions, one of them contiguous;
/// infinity when one of them is not finite, 0 for none. One pass.
double largest_magnitude(const torch::Tensor& entries);

/// [local] The same of n x n doubles while they are copied to `to`, column-major.
double copy_with_largest(const torch::Tensor& to, const torch::Tensor& from);

/// [local] The largest entry of each column order[j] (int64) of `vectors` (n x k doubles,
/// column-major) and the largest of its negative, 2 x order.size(0); zeros where there are no rows.
torch::Tensor column_extremes(const torch::Tensor& vectors, const torch::Tensor& order);

/// [local] What makes the entry of largest magnitude in each column positive, 1 or -1, for extremes
/// over all of its rows. Entries that are equal but for sign and rounding leave the sign as it is.
torch::Tensor signs_by(const torch::Tensor& extremes);

/// What all ranks go by.
struct AgreedPairs {
  torch::Tensor values;
  torch::Tensor extremes;
};

/// [collective] From the values, which rank 0 at least has computed, and the extremes of every
/// rank's own rows: the values of rank 0, since backends compute them alike but for rounding, and
/// the extremes over all rows, in one message. Of the others' values the number counts.
/// NumericalError, agreed, where a value is not finite.
AgreedPairs agreed_pairs(const Communicator& all, const torch::Tensor& values,
                         const torch::Tensor& extremes);

/// [local] Column order[j] of `vectors`, n x k as above, times signs[j] becomes column j of
/// row-major `rows`.
void fill_rows(const torch::Tensor& rows, const torch::Tensor& vectors, const torch::Tensor& order,
               const torch::Tensor& signs);

}  // namespace eigenscale
