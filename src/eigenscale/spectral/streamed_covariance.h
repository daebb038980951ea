#pragma once

#include <memory>

#include "eigenscale/linalg/distributed_matrix.h"
#include "eigenscale/linalg/process_grid.h"
#include "eigenscale/spectral/row_stream.h"

namespace eigenscale {

struct FeatureMoments {
  torch::Tensor mean;         ///< D doubles, on all ranks
  std::int64_t constant = 0;  ///< features that have one value in all samples
};

/// [collective] One pass over the rows.
FeatureMoments feature_moments(const Communicator& communicator, const RowStream& stream);

/// Sums products of rows that arrive piece by piece from all ranks: X^T X, D x D, in double and
/// square blocks on a grid. Each piece is redistributed into the blocks' columns and multiplied
/// there, so no rank holds more of D x D than its block, twice. Products in single precision would
/// leave the small eigenvalues to rounding, which whitening blows up (Fashion-MNIST: a covariance
/// of whitened samples that is wrong by 0.08).
class GramAccumulator {
 public:
  GramAccumulator(std::shared_ptr<const ProcessGrid> grid, std::int64_t features);

  /// [collective] This rank's rows, m x D of any floating type; m may differ between ranks.
  void add(const torch::Tensor& rows);
  /// [collective] The rows of all ranks as a distributed matrix; rows of zeros fill up ranks.
  DistributedMatrix distribute(const torch::Tensor& rows) const;
  /// [collective] What `distribute` returned, or a product of it with another matrix.
  void add(const DistributedMatrix& rows);

  const DistributedMatrix& sum() const { return sum_; }

 private:
  DistributedMatrix sum_;
};

/// The blocks in which matrices of D x D, and of anything x D, lie on a grid.
BlockCyclicLayout feature_layout(std::int64_t rows, std::int64_t columns,
                                 std::shared_ptr<const ProcessGrid> grid);

/// [collective] This rank's first `count` rows of a matrix that `distribute` made, or of a product
/// with it on the right.
torch::Tensor own_rows_of(const DistributedMatrix& matrix, std::int64_t count);

}  // namespace eigenscale
