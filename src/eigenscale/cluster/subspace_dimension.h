#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "eigenscale/comm/communicator.h"
#include "eigenscale/data/row_provider.h"

namespace eigenscale {

/// What is left per dimension that a model of s dimensions leaves out: objective / (d - s).
struct DimensionTrial {
  std::int64_t dimension = 0;
  double rest = 0;
};

struct DimensionChoice {
  /// 0: no dimension stands out.
  std::int64_t dimension = 0;
  std::vector<DimensionTrial> trials;  ///< ascending, from dimension 0
};

/// The dimension that all subspaces get when the data do not show one.
constexpr std::int64_t kDefaultDimension = 10;

/// [local] The elbow of `trials`: the smallest s >= 2 at which the rest falls to less than .6 of
/// what it was at s - 1 and after which it falls by less than a third; or the first s where nothing
/// is left but rounding. 0 when there is none (yet).
std::int64_t elbow(const std::vector<DimensionTrial>& trials);

/// [collective] Chooses one dimension for K subspaces without reference labels: fits and refines
/// s = 1, 2, ... from the labels of `rows` (unit rows, a sample) until the elbow shows, at most
/// 24 and d - 1.
DimensionChoice choose_dimension(const Communicator& communicator, const RowProvider& rows,
                                 const torch::Tensor& labels, std::int64_t clusters,
                                 torch::ScalarType type);

}  // namespace eigenscale
