#include "eigenscale/linalg/distributed_matrix.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace eigenscale {

torch::Tensor empty_column_major(std::int64_t rows, std::int64_t columns, torch::ScalarType type) {
  return torch::empty({columns, rows}, type).t();
}

DistributedMatrix::DistributedMatrix(BlockCyclicLayout layout, torch::Tensor local)
    : layout_(std::move(layout)), local_(std::move(local)) {
  const bool shape = local_.dim() == 2 && local_.size(0) == layout_.local_rows() &&
                     local_.size(1) == layout_.local_columns();
  // Strides of dimensions of size 0 or 1 mean nothing.
  const bool strides = shape && (local_.size(0) <= 1 || local_.stride(0) == 1) &&
                       (local_.size(1) <= 1 || local_.stride(1) >= local_.size(0));
  if (!strides) {
    throw std::invalid_argument("the local part does not fit its block-cyclic layout");
  }
}

DistributedMatrix DistributedMatrix::zeros(const BlockCyclicLayout& layout,
                                           torch::ScalarType type) {
  require_indexable(layout);
  auto local = empty_column_major(layout.local_rows(), layout.local_columns(), type);
  return {layout, local.zero_()};
}

std::int64_t DistributedMatrix::leading_dimension() const {
  return std::max<std::int64_t>(1, local_.size(1) > 1 ? local_.stride(1) : local_.size(0));
}

DistributedMatrix DistributedMatrix::to(torch::ScalarType type) const {
  return type == scalar_type() ? *this
                               : DistributedMatrix(layout_, local_.t().to(type).contiguous().t());
}

DistributedMatrix DistributedMatrix::clone() const {
  auto copy = empty_column_major(local_.size(0), local_.size(1), scalar_type());
  return {layout_, copy.copy_(local_)};
}

}  // namespace eigenscale
