#include "eigenscale/spectral/distributed_matrix_function.h"

#include "eigenscale/linalg/products.h"
#include "eigenscale/linalg/redistribute.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/linalg/symmetric_eigen.h"

namespace eigenscale {
namespace {

/// (A + A^T) / 2 in `layout`.
DistributedMatrix symmetric_part(const DistributedMatrix& matrix, const BlockCyclicLayout& layout) {
  auto sum = redistribute_transposed(matrix, layout);
  sum.local().add_(redistribute(matrix, layout).local()).mul_(0.5);
  return sum;
}

}  // namespace

DistributedMatrixFunction::DistributedMatrixFunction(const DistributedMatrix& matrix,
                                                     const SpectralFunction& function)
    : function_(function) {
  const auto layout = square_layout(matrix.layout().rows, matrix.layout().grid);
  const auto eigen = symmetric_eigen(matrix, EigenRange::all());
  eigenvalues_ = eigen.values;
  const RowPartition partition(layout.rows, layout.grid->all().size());
  eigenvectors_ = from_row_blocks(eigen.vectors, partition, layout);
  auto scaled = eigenvectors_.clone();
  scaled.local().mul_(
      function_.values(eigenvalues_).index_select(0, layout.global_columns()).unsqueeze(0));
  value_ = multiply(scaled, eigenvectors_, false, true);
}

DistributedMatrix DistributedMatrixFunction::backward(const DistributedMatrix& gradient) const {
  const auto& layout = eigenvectors_.layout();
  const auto symmetric = symmetric_part(gradient, layout);
  auto core = multiply(multiply(eigenvectors_, symmetric, true, false), eigenvectors_);
  core.local().mul_(function_.divided_differences(eigenvalues_, core.layout().global_rows(),
                                                  core.layout().global_columns()));
  return symmetric_part(multiply(multiply(eigenvectors_, core), eigenvectors_, false, true),
                        layout);
}

}  // namespace eigenscale
