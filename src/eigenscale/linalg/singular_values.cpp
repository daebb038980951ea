#include "eigenscale/linalg/singular_values.h"

#include <algorithm>

#include "eigenscale/linalg/products.h"
#include "eigenscale/linalg/row_blocks.h"
#include "eigenscale/linalg/symmetric_eigen.h"

namespace eigenscale {

DistributedMatrix smaller_gram(const DistributedMatrix& matrix) {
  const bool by_columns = matrix.layout().columns <= matrix.layout().rows;
  return by_columns ? multiply(matrix, matrix, true, false) : multiply(matrix, matrix, false, true);
}

torch::Tensor singular_values(const torch::Tensor& own_rows, const RowPartition& partition,
                              const std::shared_ptr<const ProcessGrid>& grid) {
  const std::int64_t block = block_size(std::min(partition.rows(), own_rows.size(1)), *grid);
  const auto matrix = from_row_blocks(own_rows.to(torch::kFloat64), partition,
                                      {partition.rows(), own_rows.size(1), block, block, grid});
  return symmetric_eigen(smaller_gram(matrix), EigenRange::all()).values.clamp_min(0).sqrt();
}

}  // namespace eigenscale
